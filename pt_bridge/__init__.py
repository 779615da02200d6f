"""Tor's Pluggable Transports for shadowsocks."""

__version__ = "0.1.0"
