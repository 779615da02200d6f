"""Tests of pt_bridge.text."""
