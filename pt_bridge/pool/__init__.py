"""A client's PT connections: made ready, used again; lost streams tried once more."""
