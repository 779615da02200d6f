"""Datagrams: whose they are, and the one stream of a session that carries them."""
