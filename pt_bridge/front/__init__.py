"""The front: what listens in a server PT's place, and relays its clients to it.

It sees who the client is, and how a connection ended, which PTs do not tell.
"""
