"""What is escaped or encoded once more than it should be."""

from __future__ import annotations

import base64

import pytest

from pt_bridge.text.wrapping import inside

LINK = "ss://YWVzLTI1Ni1nY206cHc@192.0.2.1:8388#A"
PAIR = "aes-256-gcm:p@ss@192.0.2.1:8388"


def encoded(text: str | bytes) -> str:
    data = text.encode() if isinstance(text, str) else text
    return base64.b64encode(data).decode()


@pytest.mark.parametrize(
    ("text", "held"),
    [
        (
            "https://e.example/invite/ss%3A%2F%2Fa%40b%3A1",
            "https://e.example/invite/ss://a@b:1",
        ),
        ("bridge:obfs4%20192.0.2.1:443%20k=v", "Bridge obfs4 192.0.2.1:443 k=v"),
        ("bridge://obfs4%20192.0.2.1:443", "Bridge obfs4 192.0.2.1:443"),
        ("BRIDGE:obfs4 192.0.2.1:443", "Bridge obfs4 192.0.2.1:443"),
        ("bridge:obfs4+192.0.2.1:443", ""),
        ("transport%3Dobfs3%3Bk%3Dv", "transport=obfs3;k=v"),
        ("transport%3Dobfs3;k=v", ""),
        (encoded(f"{LINK}\n{LINK}\n"), f"{LINK}\n{LINK}"),
        (f"{encoded(LINK)[:9]}\n{encoded(LINK)[9:]}\n", LINK),
        (encoded(LINK).rstrip("="), LINK),
        (encoded('{"server": "192.0.2.1"}'), '{"server": "192.0.2.1"}'),
        (encoded(PAIR), f"ss://{encoded(PAIR)}"),
        (encoded("nothing of that kind"), ""),
        (encoded(b"\xff" * 24), ""),
        ("A" * 17, ""),
        ("short", ""),
        ("", ""),
    ],
)
def test_what_a_wrapping_holds_is_given(text: str, held: str) -> None:
    assert inside(text) == held
