"""What stands around a line that people paste: quotes, markup, other text; pure."""
