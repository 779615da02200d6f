"""What comes along when people copy text."""

from __future__ import annotations

import unicodedata

import pytest

from pt_bridge.text.quoting import INVISIBLE, unquoted, visible


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ("", ""),
        (" \t\r\n\u00a0\u3000", ""),
        (" a b\n", "a b"),
        ('"a b"', "a b"),
        ("'a'", "a"),
        ("\u201ca\u201d", "a"),
        ("\u00ab\u00a0a\u00a0\u00bb", "a"),
        ('"a",\r\n', "a"),
        ('"a', "a"),
        ('a"', 'a"'),
        ("a,", "a,"),
        ('"', ""),
        ('a "b" c', 'a "b" c'),
    ],
)
def test_quotes_around_are_taken_away_where_the_text_begins_with_one(
    text: str, bare: str
) -> None:
    """A quote at the end alone may belong to a value."""
    assert unquoted(text) == bare


def test_what_cannot_be_seen_is_taken_away_everywhere() -> None:
    assert visible("\ufeffa\u200bb\u00ad\u202ec\u2069") == "abc"


def test_all_that_is_taken_away_takes_no_room() -> None:
    """Format characters and variation selectors: no letter, no blank, no line end."""
    for character in map(chr, INVISIBLE):
        assert unicodedata.category(character) in ("Cf", "Mn", "Cn")
        assert not character.isspace()
        assert not character.isascii()
