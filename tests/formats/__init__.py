"""Tests of pt_bridge.formats."""
