"""Tests of pt_bridge.status."""
