"""Tests of pt_bridge.files."""
