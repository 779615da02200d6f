"""What a text is called from which nobody could read a server."""

from __future__ import annotations

import pytest

from pt_bridge.profiles import unknown
from pt_bridge.profiles.unknown import NOTHING


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", NOTHING),
        ("Bridge", "this bridge line is wrong: there is no bridge line in it"),
        ("obfs4", "that is the name of a transport alone: give transport=obfs4;..."),
        (
            "# Bridge obfs4 192.0.2.1:443 cert=a",
            "the bridge line in it is commented out: take the '#' before it away",
        ),
        (
            "SocksPort 9050",
            (
                "that is a torrc without the bridge line of a transport: give the line "
                "'Bridge obfs4 ...', if there is one"
            ),
        ),
        (
            "192.0.2.1:443 0BAC39417268B96B9F514E7F63FA6FBA1A788955",
            (
                "this bridge line is wrong: it names no transport: a bridge without "
                "one is a plain Tor relay, which is no way to a shadowsocks server"
            ),
        ),
    ],
)
def test_a_text_that_holds_no_server_is_called_by_its_name(
    text: str, sentence: str
) -> None:
    """`test_pasted` has many more, from all that people paste."""
    assert unknown.sentence(text) == sentence
