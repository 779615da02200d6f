"""Tests of pt_bridge.front."""
