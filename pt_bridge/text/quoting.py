"""What comes along when people copy text: characters that are not part of it."""

from __future__ import annotations

# A list in JSON leaves a comma behind the quote, too.
OPENING_QUOTES = "\"'`\u2018\u201a\u201b\u201c\u201e\u201f\u2039\u203a\u00ab\u00bb"
OPENING_QUOTES += "\u300a\u300c\u300e"
CLOSING_QUOTES = f"{OPENING_QUOTES}\u2019\u201d\u300b\u300d\u300f,"
# What takes no room on a screen: soft hyphen, joiners, bidirectional marks, variation
# selectors, the byte order mark. Copied from a web page or a chat, any may be there.
INVISIBLE = dict.fromkeys(
    (
        *(0x00AD, 0x034F, 0x061C, 0x180E, 0xFEFF),
        *range(0x200B, 0x2010),
        *range(0x202A, 0x202F),
        *range(0x2060, 0x2070),
        *range(0xFE00, 0xFE10),
    )
)


def visible(text: str) -> str:
    """Return the text without the characters that cannot be seen."""
    return text.translate(INVISIBLE)


def unquoted(text: str) -> str:
    """Return the text without blanks around it, and without quotes if it begins so."""
    text = text.strip()
    if text and text[0] in OPENING_QUOTES:
        return text[1:].rstrip(CLOSING_QUOTES).strip()
    return text
