"""The client's side of SOCKS4, for a PT that offers nothing newer."""

from __future__ import annotations

import pytest

from pt_bridge.errors import ConnectRefused, ProtocolError
from pt_bridge.protocol.address import Address
from pt_bridge.protocol.args import encode_client
from pt_bridge.protocol.socks4 import connect
from pt_bridge.protocol.socks5 import Ask

TARGET = Address("192.0.2.3", 443)


@pytest.mark.parametrize(
    ("arguments", "request_hex"),
    [
        ([], "0401 01bb c0000203 00"),
        (
            [("cert", "AAAA"), ("iat-mode", "0")],
            "0401 01bb c0000203 636572743d414141413b6961742d6d6f64653d30 00",
        ),
    ],
)
def test_the_arguments_are_the_user_id(
    arguments: list[tuple[str, str]], request_hex: str
) -> None:
    """SK-15: one request, and a reply of eight bytes."""
    handshake = connect(TARGET, encode_client(arguments))
    assert next(handshake) == Ask(bytes.fromhex(request_hex), 8)


@pytest.mark.parametrize("rest", [b"\0" * 6, b"\x01\xbb\xc0\0\2\3"])
def test_the_reply_ends_the_handshake(rest: bytes) -> None:
    """SK-09, SK-15: nothing behind its eight bytes is asked for."""
    handshake = connect(TARGET, b"")
    next(handshake)
    with pytest.raises(StopIteration):
        handshake.send(b"\0\x5a" + rest)


@pytest.mark.parametrize("code", [0x5B, 0x5C, 0x5D, 0, 1, 0xFF])
def test_any_code_but_granted_is_a_refusal(code: int) -> None:
    """SK-10, SK-15."""
    handshake = connect(TARGET, b"cert=s3cret")
    next(handshake)
    with pytest.raises(ConnectRefused) as caught:
        handshake.send(bytes([0, code]) + bytes(6))
    assert str(caught.value) == f"the PT answered with SOCKS4 reply {code}"


@pytest.mark.parametrize("version", [4, 5, 0x48])
def test_a_reply_that_is_not_socks4_is_refused(version: int) -> None:
    """SK-15."""
    handshake = connect(TARGET, b"")
    next(handshake)
    with pytest.raises(ProtocolError) as caught:
        handshake.send(bytes([version, 0x5A]) + bytes(6))
    assert str(caught.value) == "the PT's answer is not SOCKS4"


@pytest.mark.parametrize("host", ["::1", "2001:db8::1", "a.example"])
def test_only_ipv4_addresses_are_carried(host: str) -> None:
    """SK-15: names are resolved before, IPv6 is refused; nothing is sent."""
    with pytest.raises(ProtocolError) as caught:
        next(connect(Address(host, 443), b""))
    assert str(caught.value) == (
        "the PT speaks SOCKS4, which carries IPv4 addresses only"
    )
