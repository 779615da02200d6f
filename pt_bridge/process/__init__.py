"""A process that carries connections: one tunnel or several, and their PTs replaced."""
