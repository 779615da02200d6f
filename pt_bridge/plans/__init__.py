"""What an owner writes about several tunnels in one file: a plan for each; pure."""
