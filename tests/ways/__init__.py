"""Tests of pt_bridge.ways."""
