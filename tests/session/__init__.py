"""Tests of pt_bridge.session."""
