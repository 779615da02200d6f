"""A running PT: start it, reach the server through it."""
