"""What PTs write of what went wrong."""

from __future__ import annotations

import pytest

from pt_bridge.explain.pt_words import WORDS, explain_words, with_words


@pytest.mark.parametrize(
    ("words", "meaning"),
    [
        ("dial tcp 192.0.2.1:1: connect: connection refused", "nothing listens"),
        ("tls: failed to verify certificate: x509: signed by x", "somebody in between"),
        ("x509: certificate has expired or is not yet valid: x", "clock"),
        ("tls: first record does not look like a handshake", "no TLS"),
        ("lookup x: no such host", "DNS"),
        ("broker failure dial", "broker"),
    ],
)
def test_what_a_pt_writes_is_explained(words: str, meaning: str) -> None:
    """Go's own words, as lyrebird logs them."""
    assert meaning in explain_words(words)


def test_what_says_nothing_to_us_is_not_explained() -> None:
    assert explain_words("launched") == ""
    assert all(explain_words(words) for words in WORDS)


def test_what_names_a_cause_stands_before_what_we_suspect() -> None:
    heard = "; lyrebird said: connection refused"
    assert with_words("the server is down", heard).startswith("lyrebird said:")
    assert with_words("the server is down", "; it said: x") == (
        "the server is down; it said: x"
    )
