"""What tor and Arti say to a PT's SOCKS port: bytes against a script."""

from __future__ import annotations

import pytest

from pt_bridge.protocol import socks_client
from pt_bridge.protocol.address import Address
from pt_bridge.protocol.socks_client import SUCCEEDED
from pt_bridge.tor.socks_server import (
    FAILED,
    Request,
    accept,
    reply,
)
from tests.support.calls import Call, call

ARGUMENTS = b"cert=AAAA;iat-mode=0"
PAIRS = [("cert", "AAAA"), ("iat-mode", "0")]
# Seen: tor 0.4.9.11 offers both methods where there are arguments.
GREETING = bytes.fromhex("05 02 00 02")
CONNECT = bytes.fromhex("05 01 00")
TARGET = bytes.fromhex("01 c0000203 01bb")
BRIDGE = Address("192.0.2.3", 443)
CHOSE = (4, b"\5\2")


def login(user: bytes, password: bytes = b"\0") -> bytes:
    """Write a user name and a password (RFC 1929 2)."""
    return bytes([1, len(user)]) + user + bytes([len(password)]) + password


def test_what_tor_says_is_heard() -> None:
    """SK-02, appendix B: the arguments, and the bridge; the answer is the caller's."""
    said = GREETING + login(ARGUMENTS) + CONNECT + TARGET + b"tls"
    assert call(accept, said) == Call(
        [CHOSE, (28, b"\1\0")], Request(BRIDGE, PAIRS, ARGUMENTS), None, b"tls"
    )
    assert reply(SUCCEEDED) == bytes.fromhex("05000001 00000000 0000")
    assert reply(FAILED) == bytes.fromhex("05010001 00000000 0000")


def test_what_tor_says_without_arguments_is_heard() -> None:
    """SK-02: it offers no authentication then."""
    went = call(accept, b"\5\1\0" + CONNECT + TARGET)
    assert went == Call([(3, b"\5\0")], Request(BRIDGE, [], b""), None, b"")


@pytest.mark.parametrize("length", [1, 254, 255, 256, 300, 509, 510])
def test_our_own_client_is_understood(length: int) -> None:
    """SK-02, SK-03: arguments of any length, split at byte 255."""
    encoded = b"k=" + b"v" * (length - 2) if length > 1 else b""
    handshake = socks_client.connect(BRIDGE, encoded)
    answers = [b"\5\2", b"\1\0"] if encoded else [b"\5\0"]
    said = next(handshake).send
    for answer in answers:
        said += handshake.send(answer).send
    result = call(accept, said).result
    assert isinstance(result, Request)
    assert result.encoded_arguments == encoded


@pytest.mark.parametrize(
    ("address", "target"),
    [
        (b"\4" + bytes(15) + b"\1\0\x50", Address("::1", 80)),
        (b"\3\x09a.example\1\xbb", Address("a.example", 443)),
        (b"\3\x079.9.9.9\1\xbb", Address("9.9.9.9", 443)),
    ],
)
def test_an_address_may_be_of_each_kind(address: bytes, target: Address) -> None:
    """SK-08: Arti sends names, too."""
    result = call(accept, b"\5\1\0" + CONNECT + address).result
    assert result == Request(target, [], b"")


NO_METHOD = "what came to the SOCKS port knows no method that PTs do"
NO_SOCKS = "what came to the SOCKS port is not SOCKS5"
NO_PORT = "it must be a port from 1 to 65535"
SOCKS4 = (
    "what came to the SOCKS port is SOCKS4: write socks5 in tor's "
    "ClientTransportPlugin line"
)
ESCAPE = "a backslash in the arguments precedes what needs none"


@pytest.mark.parametrize(
    ("said", "answer", "error"),
    [
        (b"\5\1\1", b"\5\xff", NO_METHOD),
        (b"\5\0", b"\5\xff", NO_METHOD),
        (GREETING + login(rb"k=\x"), b"\1\1", ESCAPE),
        (
            GREETING + login(b"", b""),
            b"\1\1",
            "what came to the SOCKS port has an empty user name",
        ),
        (
            b"\5\1\0\5\2\0" + TARGET,
            reply(7),
            "the SOCKS port knows CONNECT, and not command 2",
        ),
        (
            b"\5\1\0\5\1\0\2",
            reply(8),
            "what came to the SOCKS port holds an address of type 2",
        ),
        (b"\5\1\0" + CONNECT + b"\1" + bytes(6), reply(1), NO_PORT),
        (
            b"\5\1\0" + CONNECT + b"\3\1\xff\0\1",
            reply(1),
            "it must be a valid host name or IP address",
        ),
    ],
)
def test_who_cannot_be_served_is_told_so(
    said: bytes, answer: bytes, error: str
) -> None:
    """SK-04, SK-10: with the codes of RFC 1928 and RFC 1929."""
    went = call(accept, said)
    assert (went.heard[-1][1], went.error) == (answer, error)


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (b"GET / HTTP/1.1", NO_SOCKS),
        (b"\5\1\0\4\1\0\1", NO_SOCKS),
        (
            b"\4\1\0\x50",
            SOCKS4,
        ),
        (
            GREETING + b"\5\1",
            "what came to the SOCKS port is no user name and password",
        ),
    ],
)
def test_who_speaks_something_else_gets_no_answer(said: bytes, error: str) -> None:
    """RFC 1928 3: there is none that it would understand."""
    went = call(accept, said)
    assert went.error == error
    assert [answer for _, answer in went.heard] in ([], [b"\5\0"], [b"\5\2"])


def test_an_empty_password_says_no_more_either() -> None:
    """RFC 1929 asks for a byte; who leaves it out means the same."""
    went = call(accept, GREETING + login(ARGUMENTS, b"") + CONNECT + TARGET)
    assert went.result == Request(BRIDGE, PAIRS, ARGUMENTS)


def test_a_password_of_two_zeros_is_a_part_of_the_arguments() -> None:
    """SK-02: seen with both PTs, which refuse it then."""
    went = call(accept, GREETING + login(ARGUMENTS, b"\0\0"))
    assert went.error == "an argument is not printable ASCII"
