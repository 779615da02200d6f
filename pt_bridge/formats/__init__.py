"""How a server is written down: bridge lines, links, configurations; pure."""
