"""The process that runs bridges: one tunnel or several, and what signals mean.

Here a PT is replaced with nothing cut, and a pt-bridge by a newer version.
"""
