"""Which known word somebody may have meant."""

from __future__ import annotations

import pytest

from pt_bridge.options.transports import TRANSPORTS
from pt_bridge.text.spelling import did_you_mean


@pytest.mark.parametrize(
    ("key", "known", "hint"),
    [
        ("crt", ["cert", "url"], ": did you mean 'cert'?"),
        ("CERT", ["cert", "url"], ": did you mean 'cert'?"),
        ("frnts", ["front", "fronts"], ": did you mean 'fronts'?"),
        ("obsf4", TRANSPORTS, ": did you mean 'obfs4'?"),
        ("web_tunnel", TRANSPORTS, ": did you mean 'webtunnel'?"),
        ("tomorrow", TRANSPORTS, ""),
        ("zzz", ["cert", "url"], ""),
        ("cert", [], ""),
        ("", ["cert"], ""),
    ],
)
def test_what_is_near_is_asked_for(key: str, known: list[str], hint: str) -> None:
    """ER-03: the message tells what to do, and guesses no further."""
    assert did_you_mean(key, known) == hint
