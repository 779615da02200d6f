"""Streams inside PT connections: carried, ended, tried again."""
