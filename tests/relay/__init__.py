"""Tests of the protocols: no process, no socket, no clock."""
