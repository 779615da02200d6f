"""Tests of pt_bridge.plans."""
