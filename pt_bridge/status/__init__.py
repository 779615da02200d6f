"""What one bridge has counted, and how the log tells of it (SIGUSR1)."""
