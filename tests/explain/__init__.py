"""Tests of pt_bridge.explain."""
