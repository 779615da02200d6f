"""The environment of a PT: what it inherits, and TOR_PT_*."""

from __future__ import annotations

import pytest

from pt_bridge.protocol.address import Address
from pt_bridge.protocol.pt_environment import client, inherited, server

STATE = b"/var/lib/pt-bridge/obfs4-8388"
COMMON = {
    b"TOR_PT_MANAGED_TRANSPORT_VER": b"1",
    b"TOR_PT_STATE_LOCATION": STATE,
    b"TOR_PT_EXIT_ON_STDIN_CLOSE": b"1",
}


def a_server(
    *,
    bind: Address | None = None,
    orport: Address | None = None,
    arguments: list[tuple[str, str]] | None = None,
) -> dict[bytes, bytes]:
    return server(
        "obfs4",
        state=STATE,
        bind=bind or Address("192.0.2.1", 8388),
        orport=orport or Address("127.0.0.1", 9001),
        arguments=arguments or [],
    )


def test_a_pt_inherits_what_it_may_need() -> None:
    """PE-01, FE-15: the allow-list; values are passed on byte by byte."""
    allowed = {
        b"PATH": b"/usr/bin",
        b"HOME": b"/root",
        b"TMPDIR": b"/t\xff",
        b"LANG": b"C",
        b"LC_ALL": b"C.UTF-8",
        b"LC_MESSAGES": b"",
        b"TZ": b"UTC",
        b"SSL_CERT_FILE": b"/c",
        b"SSL_CERT_DIR": b"/d",
        b"LD_LIBRARY_PATH": b"/l",
        b"PREFIX": b"/data/data/com.termux/files/usr",
    }
    assert inherited(allowed) == allowed


@pytest.mark.parametrize(
    "name",
    [
        *(b"SS_REMOTE_HOST", b"SS_PLUGIN_OPTIONS", b"SS_LOCAL_PORT"),
        *(b"TOR_PT_SERVER_TRANSPORTS", b"TOR_PT_PROXY", b"TOR_PT_ORPORT"),
        *(b"ALL_PROXY", b"https_proxy", b"HTTP_PROXY", b"NOTIFY_SOCKET"),
        *(b"LD_PRELOAD", b"PATHS", b"path", b"LC", b"GODEBUG", b"\xff", b""),
    ],
)
def test_a_pt_inherits_nothing_else(name: bytes) -> None:
    """PE-01, SE-11: a stale TOR_PT_* of another role is an ENV-ERROR."""
    assert inherited({name: b"1", b"PATH": b"/bin"}) == {b"PATH": b"/bin"}
    assert inherited({}) == {}


def test_a_client_is_told_this_and_no_more() -> None:
    """PE-02, PE-03, PE-05, PE-06, PE-07: no proxy unless asked."""
    assert client(["obfs4"], state=STATE, proxy=None) == {
        **COMMON,
        b"TOR_PT_CLIENT_TRANSPORTS": b"obfs4",
    }


@pytest.mark.parametrize(
    "proxy",
    [
        "socks5://tor:test1234@198.51.100.1:8000",
        "socks4a://198.51.100.2:8001",
        "http://198.51.100.3:443",
    ],
)
def test_a_client_is_told_the_users_proxy(proxy: str) -> None:
    """PE-07: the examples of pt-spec 3.2.2."""
    variables = client(["obfs4"], state=STATE, proxy=proxy)
    assert variables.pop(b"TOR_PT_PROXY") == proxy.encode()
    assert variables == client(["obfs4"], state=STATE, proxy=None)


def test_a_server_is_told_this_and_no_more() -> None:
    """PE-02, PE-03, PE-05, PE-06, PE-09 to PE-12: a plain ORPort, and no options."""
    assert a_server() == {
        **COMMON,
        b"TOR_PT_SERVER_TRANSPORTS": b"obfs4",
        b"TOR_PT_SERVER_BINDADDR": b"obfs4-192.0.2.1:8388",
        b"TOR_PT_ORPORT": b"127.0.0.1:9001",
        b"TOR_PT_EXTENDED_SERVER_PORT": b"",
    }


def test_without_an_extended_orport_that_is_set_and_empty() -> None:
    """PE-11: and there is no cookie."""
    variables = a_server()
    assert variables[b"TOR_PT_EXTENDED_SERVER_PORT"] == b""
    assert b"TOR_PT_AUTH_COOKIE_FILE" not in variables


def test_a_server_may_be_told_an_extended_orport_and_its_cookie() -> None:
    """PE-11, EO-12: beside the plain one, for PTs that know no other."""
    variables = server(
        "obfs4",
        state=STATE,
        bind=Address("192.0.2.1", 8388),
        orport=Address("127.0.0.1", 8389),
        extended=Address("127.0.0.1", 9001),
        cookie="/proc/self/fd/7",
        arguments=[],
    )
    assert variables == {
        **a_server(orport=Address("127.0.0.1", 8389)),
        b"TOR_PT_EXTENDED_SERVER_PORT": b"127.0.0.1:9001",
        b"TOR_PT_AUTH_COOKIE_FILE": b"/proc/self/fd/7",
    }


def test_a_server_may_have_the_extended_orport_for_its_only_way() -> None:
    """Past it, nobody could tell which client a connection is."""
    variables = server(
        "obfs4",
        state=STATE,
        bind=Address("127.0.0.1", 0),
        orport=None,
        extended=Address("::1", 9001),
        cookie="/proc/self/fd/7",
        arguments=[],
    )
    assert b"TOR_PT_ORPORT" not in variables
    assert variables[b"TOR_PT_EXTENDED_SERVER_PORT"] == b"[::1]:9001"
    # pt-spec 3.2.3: any port that is free.
    assert variables[b"TOR_PT_SERVER_BINDADDR"] == b"obfs4-127.0.0.1:0"


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (Address("198.51.100.1", 1984), b"198.51.100.1:1984"),
        (Address("0.0.0.0", 443), b"0.0.0.0:443"),
        (Address("::", 443), b"[::]:443"),
        (Address("2001:db8::1", 443), b"[2001:db8::1]:443"),
    ],
)
def test_addresses_are_literals_with_ipv6_in_brackets(
    address: Address, text: bytes
) -> None:
    """PE-09, PE-10."""
    variables = a_server(bind=address, orport=address)
    assert variables[b"TOR_PT_SERVER_BINDADDR"] == b"obfs4-" + text
    assert variables[b"TOR_PT_ORPORT"] == text


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ([("iat-mode", "1")], b"obfs4:iat-mode=1"),
        ([("a", "1"), ("b", "2;3")], rb"obfs4:a=1;obfs4:b=2\;3"),
        ([("url", "https://e/p")], rb"obfs4:url=https\://e/p"),
    ],
)
def test_a_server_is_given_its_arguments(
    arguments: list[tuple[str, str]], options: bytes
) -> None:
    """PE-12: left out where there are none."""
    variables = a_server(arguments=arguments)
    assert variables.pop(b"TOR_PT_SERVER_TRANSPORT_OPTIONS") == options
    assert variables == a_server()


def test_nothing_of_the_other_role_is_set() -> None:
    """PE-06: exactly one of the two."""
    assert b"TOR_PT_SERVER_TRANSPORTS" not in client(["t"], state=STATE, proxy=None)
    assert b"TOR_PT_CLIENT_TRANSPORTS" not in a_server()


def test_several_transports_are_joined_by_commas() -> None:
    """PE-07."""
    variables = client(["obfs4", "obfs3"], state=STATE, proxy=None)
    assert variables[b"TOR_PT_CLIENT_TRANSPORTS"] == b"obfs4,obfs3"
