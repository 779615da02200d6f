"""The ways to the server (bridges): which is tried first, and the race between them."""
