"""Tests of pt_bridge.listen."""
