"""Tests of pt_bridge.profiles."""
