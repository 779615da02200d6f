"""Tests of the numbers for operators."""
