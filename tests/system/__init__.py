"""Tests of pt_bridge.system."""
