"""Accept connections: at the outer port, and where a PT brings its clients'.

The outer port keeps waiting what comes before a PT is ready. net/bind.py binds it.
"""
