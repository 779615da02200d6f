"""The manual page pt-bridge(1), made from the program's own definitions."""
