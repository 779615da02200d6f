"""The client's connections: made ready, used again, and tried a second time."""
