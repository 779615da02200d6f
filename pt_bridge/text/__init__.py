"""What stands around a line that people paste: quotes, markup, other text; pure.

And which known word a misspelt one may be.
"""
