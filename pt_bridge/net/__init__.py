"""Sockets: bind ports, connect, resolve names, shake hands as protocol/ says.

Also ports that were there before us: systemd's, or an older pt-bridge's. Connections
are accepted in listen/, bytes move in relay/, and UDP has its sockets in udp/.
"""
