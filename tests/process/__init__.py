"""Tests of pt_bridge.bridge."""
