"""Tests of pt_bridge.doctor."""
