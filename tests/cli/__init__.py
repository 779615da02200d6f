"""Tests of pt_bridge.cli."""
