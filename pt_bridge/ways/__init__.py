"""The ways to the server: which one is tried first, and the race between them."""
