"""Tests of pt_bridge.plugin."""
