"""Bytes between sockets, and how that ends."""
