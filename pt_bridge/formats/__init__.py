"""Formats of others: bridge lines, ``ss://``, config.json, torrc, lists; pure."""
