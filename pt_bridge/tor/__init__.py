"""A real tor: before a client of ours, behind a server, and a throwaway for doctor."""
