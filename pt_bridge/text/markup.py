"""What web pages and Markdown put around a text that people copy with it."""

from __future__ import annotations

import html
import re

# What the source of a web page writes for a character. Only those that end with their
# semicolon: '&copy=1' is a part of an address.
ENTITY = re.compile(r"&(?:amp|quot|apos|lt|gt|nbsp|#[0-9]{1,6}|#x[0-9a-fA-F]{1,5});")
# Tags that break a line or mark it up; what obfs4proxy leaves to fill in is none.
TAG = re.compile(
    r"</?(?:br|p|div|li|ul|ol|pre|code|span|td|tr|a|b)(?:\s[^<>]{0,300})?/?>"
)
# What only a page has: the end of an element, or a line's.
PAGE = re.compile(r"</[a-z]+>|<br\s?/?>")
# Markdown's marks around what is shown as it is.
FENCE = re.compile(r"^[ \t]*```.*$", re.MULTILINE)


def without_entities(text: str) -> str:
    """Return the text with characters for what the source of a web page writes."""
    return ENTITY.sub(lambda entity: html.unescape(entity[0]), text)


def without_markup(text: str) -> str:
    """Return the text without the tags of a web page, and without Markdown's fences.

    A tag alone, which ends nowhere, is none: a password may hold one.
    """
    if PAGE.search(text):
        text = TAG.sub("\n", text)
    return FENCE.sub("", text)
