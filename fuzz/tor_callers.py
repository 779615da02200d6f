"""What tor says to us, before a client and behind a server."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from fuzz.parsers import COOKIE, NONCE, check_address, shake_hands
from pt_bridge.protocol import ext_orport
from pt_bridge.protocol.address import Address
from pt_bridge.protocol.pt_args import decode_client, encode_client
from pt_bridge.tor import socks_server

if TYPE_CHECKING:
    from collections.abc import Generator

    from pt_bridge.protocol.handshake import Ask


def extorport_announced(data: bytes) -> None:
    """Announce a client to a tor that says anything."""
    address = Address("203.0.113.5", 4321)
    shake_hands(
        ext_orport.announce(
            cookie=COOKIE, nonce=NONCE, user_address=address, transport="obfs4"
        ),
        data,
    )


KNOWN_BY_TOR = (
    ext_orport.AUTHENTICATION_TYPES
    + hmac.digest(COOKIE, ext_orport.FROM_SERVER + NONCE + NONCE, "sha256")
    + NONCE
    + ext_orport.AUTHENTICATED
)


def extorport_announced_to_tor(data: bytes) -> None:
    """Announce a client to a tor with our cookie, which then says anything."""
    extorport_announced(KNOWN_BY_TOR + data)


def socks5_accepted(data: bytes) -> None:
    """Be the SOCKS port of a tor that says anything."""
    handshake = socks_server.accept()
    accepted: list[socks_server.Request] = []

    def accept() -> Generator[Ask, bytes, None]:
        accepted.append((yield from handshake))

    shake_hands(accept(), data)
    for request in accepted:
        check_address(request.target)
        encoded = encode_client(request.arguments)
        assert decode_client(encoded) == request.arguments, (
            "arguments are not read as they were written"
        )


def socks5_arguments(data: bytes) -> None:
    """Be the SOCKS port of a tor that sends any arguments."""
    user, password = data[:255], data[255:510] or b"\0"
    login = bytes([len(user)]) + user + bytes([len(password)]) + password
    socks5_accepted(b"\5\1\2\1" + login + b"\5\1\0\1\xc0\0\2\3\1\xbb")
