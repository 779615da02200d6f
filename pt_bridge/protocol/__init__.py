"""The protocols: bytes or lines in, values out; no I/O, no clock, no randomness.

Whatever bytes go in, only the exceptions of :mod:`pt_bridge.errors` come out.
"""
