"""HAProxy's PROXY protocol: what is written is read, in whatever pieces it comes."""

from __future__ import annotations

import pytest

from pt_bridge.errors import ProtocolError
from pt_bridge.protocol.address import Address
from pt_bridge.protocol.proxy_protocol import (
    HEAD,
    MAX_LENGTH,
    MAX_LINE,
    SIGNATURE,
    Header,
    parse,
    serialize,
)

CLIENT, SERVER = Address("192.0.2.1", 56324), Address("198.51.100.1", 443)
CLIENT6, SERVER6 = Address("2001:db8::1", 5), Address("2001:db8::2", 443)
V4 = bytes([192, 0, 2, 1, 198, 51, 100, 1]) + b"\xdc\x04\x01\xbb"
BEHIND = b"\0bytes of the PT's\r\n"


def head(version: int = 0x21, family: int = 0x11, length: int = len(V4)) -> bytes:
    return HEAD.pack(SIGNATURE, version, family, length)


def read(data: bytes, *, at_once: int = 10_000) -> tuple[Header, bytes]:
    """Read a header as a connection's reader does; return what is left behind it."""
    taken = b""
    while isinstance(found := parse(taken), int):
        assert found > 0
        piece = data[len(taken) : len(taken) + min(found, at_once)]
        assert piece, "it asks for more than there is"
        taken += piece
    return found, data[len(taken) :]


def test_version_2_is_written_as_the_specification_has_it() -> None:
    """proxy-protocol.txt 2.2: IPv4 and IPv6, TCP."""
    assert serialize(CLIENT, SERVER) == head() + V4
    written = serialize(CLIENT6, SERVER6)
    assert written[:16] == head(family=0x21, length=36)
    assert len(written) == 16 + 36


def test_a_client_that_is_not_known_makes_a_connection_of_our_own() -> None:
    """2.2: LOCAL, whose receiver takes the connection's real addresses."""
    local = head(version=0x20, family=0, length=0)
    assert serialize(None, SERVER) == local
    assert serialize(Address("a.example", 1), SERVER) == local
    assert read(local + BEHIND) == (Header(None, None), BEHIND)


@pytest.mark.parametrize(
    ("source", "destination", "read_as"),
    [
        (CLIENT, SERVER6, Address("0.0.0.0", 443)),
        (CLIENT6, SERVER, Address("::", 443)),
        (CLIENT, Address("a.example", 443), Address("0.0.0.0", 443)),
        (Address("192.0.2.1", 0), SERVER, SERVER),
    ],
)
def test_both_addresses_are_of_one_family(
    source: Address, destination: Address, read_as: Address
) -> None:
    """2.2: the layout has one family for both."""
    assert read(serialize(source, destination))[0] == Header(source, read_as)


@pytest.mark.parametrize("at_once", [1, 2, 7, 10_000])
@pytest.mark.parametrize(
    ("data", "header"),
    [
        (head() + V4, Header(CLIENT, SERVER)),
        (serialize(CLIENT6, SERVER6), Header(CLIENT6, SERVER6)),
        (head(length=len(V4) + 7) + V4 + b"\x04\0\x04abcd", Header(CLIENT, SERVER)),
        (head(version=0x20) + V4, Header(None, None)),
        (head(family=0, length=3) + b"abc", Header(None, None)),
        (head(family=0x31, length=216) + bytes(216), Header(None, None)),
        (head(family=0x12) + V4, Header(None, None)),
        (
            b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n",
            Header(CLIENT, SERVER),
        ),
        (
            b"PROXY TCP6 2001:db8::1 2001:db8::2 5 443\r\n",
            Header(CLIENT6, SERVER6),
        ),
        (
            b"PROXY TCP4 192.0.2.1 198.51.100.1 0 443\r\n",
            Header(Address("192.0.2.1", 0), SERVER),
        ),
        (b"PROXY UNKNOWN\r\n", Header(None, None)),
        (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", Header(None, None)),
    ],
)
def test_nothing_behind_a_header_is_read(
    data: bytes, header: Header, at_once: int
) -> None:
    """What comes behind it is the PT's, in whatever pieces it comes."""
    assert read(data + BEHIND, at_once=at_once) == (header, BEHIND)


@pytest.mark.parametrize(
    "data",
    [
        b"G",
        b"\0",
        b"P\0",
        b"\r\n\r\n\0\r\nQUIT\r",
        b"PROXZ",
        head(version=0x11),
        head(version=0x22),
        head(family=0x41),
        head(family=0x13),
        head(length=MAX_LENGTH + 1),
        head(length=len(V4) - 1),
        head(family=0x21, length=35),
        b"PROXY TCP4 192.0.2.1 198.51.100.1 56324\r\n",
        b"PROXY TCP5 192.0.2.1 198.51.100.1 56324 443\r\n",
        b"PROXY TCP4 2001:db8::1 198.51.100.1 56324 443\r\n",
        b"PROXY TCP6 192.0.2.1 198.51.100.1 56324 443\r\n",
        b"PROXY TCP4 192.0.2.1 a.example 56324 443\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.1 65536 443\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.1 -1 443\r\n",
        b"PROXY TCP4 \xff 198.51.100.1 1 443\r\n",
        b"PROXY \r\n       ",
        b"PROXY " + b"x" * (MAX_LINE - len(b"PROXY ")),
    ],
)
def test_what_is_no_header_is_known_as_soon_as_that_can_be(data: bytes) -> None:
    """So that nothing of it is kept from the PT; and no address is repeated."""
    with pytest.raises(ProtocolError) as caught:
        parse(data)
    assert "192.0.2.1" not in str(caught.value)


def test_a_line_has_its_longest_length() -> None:
    """2.1: 107 bytes, its end included."""
    line = b"PROXY UNKNOWN " + b"x" * (MAX_LINE - 16) + b"\r\n"
    assert len(line) == MAX_LINE
    assert read(line + BEHIND) == (Header(None, None), BEHIND)
