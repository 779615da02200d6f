"""Tests of pt_bridge.net."""
