"""What the user asks for: text in, Config out; pure."""
