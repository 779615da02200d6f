"""Another SIP003 plugin, between the PT and the Internet (via=)."""
