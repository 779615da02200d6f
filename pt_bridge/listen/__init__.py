"""Ports that we listen on: who is accepted there, and when it is carried on."""
