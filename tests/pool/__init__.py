"""Tests of pt_bridge.pool."""
