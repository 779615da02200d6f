"""What listens in a server PT's place, and relays to it."""
