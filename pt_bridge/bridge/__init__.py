"""A run, from start to stop: one class for each side joins what the rooms before have.

Who may come, whom a client dials, and what an operator is told stand here, too. How
bytes move does not (relay/, session/), nor how a PT runs (pt/); several tunnels, and
what signals mean, are in process/.
"""
