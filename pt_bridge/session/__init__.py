"""Connections through a PT that speak the session, and the streams that they carry.

The bytes of the frames are in protocol/; which connection a client's stream gets, and
whether it is tried again, in pool/.
"""
