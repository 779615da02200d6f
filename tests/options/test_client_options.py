"""The plugin options for a server's clients: written, and compared."""

from __future__ import annotations

import pytest

from pt_bridge.options.client_options import client_line, same_identity


@pytest.mark.parametrize(
    ("key", "bare"),
    [
        ("cert", "cert"),
        ("something", "something"),
        ("server", "arg-server"),
        ("servers", "arg-servers"),
        ("bridge", "arg-bridge"),
        ("arg-x", "arg-arg-x"),
        ("__android_vpn", "arg-__android_vpn"),
        ("url ", "arg-url "),
    ],
)
def test_a_client_line_names_what_we_would_not_take_for_an_argument(
    key: str, bare: str
) -> None:
    """OG-12, SV-06: pasted as it is, it works."""
    assert client_line("obfs4", [(key, "1")]) == f"transport=obfs4;{bare}=1"


def test_a_client_line_asks_for_the_session_first() -> None:
    line = client_line("obfs4", [("url", "x")], session="1")
    assert line == "transport=obfs4;session=1;url=x"


@pytest.mark.parametrize(
    ("line", "same"),
    [
        ("transport=obfs4;cert=a;iat-mode=0", True),
        ("transport=obfs4;cert=a;iat-mode=1", True),
        ("transport=obfs4;cert=a", True),
        ("transport=obfs4;cert=b;iat-mode=0", False),
        ("transport=obfs3;cert=a;iat-mode=0", False),
        ("transport=obfs4;cert=a;iat-mode=0\\", False),
        ("", False),
    ],
)
def test_a_client_line_tells_whether_the_server_is_the_same(
    line: str, *, same: bool
) -> None:
    """PE-04: what only shapes the traffic leaves old clients as they are."""
    assert same_identity(line, "transport=obfs4;cert=a;iat-mode=0") is same


def test_a_client_line_says_that_the_server_carries_udp() -> None:
    line = client_line("obfs4", [("cert", "A")], "1", udp=True)
    assert line == "transport=obfs4;session=1;udp;cert=A"
