"""What web pages and Markdown put around a text."""

from __future__ import annotations

import pytest

from pt_bridge.text.markup import without_entities, without_markup


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("a&amp;b&lt;c&gt;&quot;d&quot;&#43;&#x2F;&apos;", 'a&b<c>"d"+/\''),
        ("?a=1&copy=2&plugin=x", "?a=1&copy=2&plugin=x"),
        ("&unknown; &", "&unknown; &"),
    ],
)
def test_a_web_pages_entities_become_characters(text: str, plain: str) -> None:
    """Links are escaped so in HTML: '&amp;plugin='."""
    assert without_entities(text) == plain


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("a<br/>b<br />c<BR>d", "a\nb\nc<BR>d"),
        ('<div id="bridgelines">a</div>', "\na\n"),
        ("obfs4 <IP ADDRESS>:<PORT> <FINGERPRINT>", None),
        ("```json\n{}\n```", "\n{}\n"),
        ("a ``` b", None),
        ('{"password": "x<b>y"}', None),
    ],
)
def test_tags_and_fences_go(text: str, plain: str | None) -> None:
    """And what obfs4proxy leaves to fill in stays."""
    assert without_markup(text) == (text if plain is None else plain)
