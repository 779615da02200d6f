"""What a bridge has counted, and how it is told: SIGUSR1, and figures for operators."""
