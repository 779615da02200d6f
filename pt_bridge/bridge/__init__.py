"""A run, from start to stop."""
