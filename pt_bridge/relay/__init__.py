"""Bytes between two sockets, and how that ends: by a half-close, a close, or a reset.

It takes sockets and numbers, and knows no options. What needs the session's frames is
in session/, and what carries datagrams in udp/.
"""
