"""Unit tests: one file for each module of pt_bridge."""
