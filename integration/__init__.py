"""pt-bridge with the real programs: shadowsocks-libev, obfs4proxy, lyrebird."""
