"""What people hand each other about a server: read in any form, written in any."""
