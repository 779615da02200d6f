"""What holds for each handshake, whichever program it is with."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

import pytest

from pt_bridge.protocol import ext_orport, http_connect, socks_client
from pt_bridge.protocol.address import Address

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from pt_bridge.protocol.handshake import Ask

TARGET = Address("192.0.2.3", 443)
ARGUMENTS = b"cert=AAAA"
COOKIE, NONCE = bytes(32), bytes(range(32))
CLIENT_NONCE = bytes(reversed(range(32)))
PROOF = hmac.digest(
    COOKIE,
    b"ExtORPort authentication client-to-server hash" + CLIENT_NONCE + NONCE,
    "sha256",
)
HANDSHAKES = {
    "SOCKS5": (
        lambda: socks_client.connect(TARGET, ARGUMENTS),
        bytes.fromhex("0502 0100 05000001 00000000 0000"),
    ),
    "SOCKS4": (
        lambda: socks_client.connect_socks4(TARGET, ARGUMENTS),
        bytes.fromhex("005a 000000000000"),
    ),
    "HTTP": (
        lambda: http_connect.connect(TARGET, None),
        b"HTTP/1.1 200 OK\r\nVia: here\r\n\r\n",
    ),
    "Extended ORPort": (
        lambda: ext_orport.accept(cookie=COOKIE, nonce=NONCE),
        bytes([1]) + CLIENT_NONCE + PROOF + bytes.fromhex("0000 0000"),
    ),
}


@pytest.mark.parametrize(("make", "script"), HANDSHAKES.values(), ids=HANDSHAKES)
def test_a_handshake_asks_for_each_byte_of_its_peer_and_for_none_of_the_tunnel(
    make: Callable[[], Generator[Ask, bytes, object]], script: bytes
) -> None:
    """SK-09: what comes behind its last answer is the tunnel's."""
    handshake = make()
    step: Ask | None = next(handshake)
    left = script
    while step is not None:
        assert step.read <= len(left)
        answer, left = left[: step.read], left[step.read :]
        try:
            step = handshake.send(answer)
        except StopIteration:
            step = None
    assert left == b""
