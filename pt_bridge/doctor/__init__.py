"""Find what is broken; starts what it needs, leaves nothing."""
