"""Sockets: bind them, connect them."""
