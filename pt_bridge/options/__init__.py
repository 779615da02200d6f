"""What the user asks for: SS_* and plugin options in, a `Config` out; pure.

It has our own options, and the transports that we know with their arguments. Bridge
lines and config.json are in formats/, pt-bridge.conf in files/owner_config.py, the
commands and their flags in cli/.
"""
