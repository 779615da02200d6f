"""Tests of pt_bridge.udp."""
