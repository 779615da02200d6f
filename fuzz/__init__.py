"""Hostile input for every parser and for the loopback servers (``scripts/fuzz``)."""
