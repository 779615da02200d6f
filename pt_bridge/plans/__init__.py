"""The file of several tunnels (TOML), read into a plan for each; pure."""
