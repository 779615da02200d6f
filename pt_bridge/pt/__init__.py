"""A running PT: find its program, start it, end it, start it again, dial through it.

What it says on its standard output is read in protocol/; the plugin around it is in
plugin/, and the programs of both are found by files/.
"""
