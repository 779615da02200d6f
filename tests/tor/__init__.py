"""Tests of pt_bridge.pt."""
