"""``pt-bridge doctor``: check one thing after the other, up to the first that fails.

It starts what it needs through pt/, and leaves nothing. Why something failed, and what
to try then, is said in explain/.
"""
