"""Tests of pt_bridge.options."""
