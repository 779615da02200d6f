r"""The Extended ORPort, where pt-bridge plays tor's part (ext-orport-spec).

A server's PT calls here for each of its clients, and says which client it is::

    pt-bridge   01 00                                  SAFE_COOKIE is all there is
    PT          01, its nonce
    pt-bridge   its hash, its nonce
    PT          its hash
    pt-bridge   01, or 00 and the end
    PT          *( command length body )               the last is DONE
    pt-bridge   OKAY, or DENY and the end              which is left to the caller

A handshake is a generator as in `pt_bridge.protocol.socks5`. So nothing is read beyond
DONE: what comes behind it is the tunnel's own.
"""

from __future__ import annotations

import re
from hmac import compare_digest, digest
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

from pt_bridge.errors import ProtocolError
from pt_bridge.protocol.address import Address, parse_endpoint, parse_port
from pt_bridge.protocol.socks5 import Ask

if TYPE_CHECKING:
    from collections.abc import Generator

# ext-orport-spec 2.1
COOKIE_HEADER = b"! Extended ORPort Auth Cookie !\x0a"
COOKIE_LENGTH, NONCE_LENGTH, HASH_LENGTH = 32, 32, 32
SAFE_COOKIE = b"\x01"
AUTHENTICATION_TYPES = SAFE_COOKIE + b"\0"
AUTHENTICATED, NOT_AUTHENTICATED = b"\x01", b"\0"
FROM_SERVER = b"ExtORPort authentication server-to-client hash"
FROM_CLIENT = b"ExtORPort authentication client-to-server hash"

# ext-orport-spec 3: a command and its body's length, big-endian.
HEAD = Struct(">HH")
DONE, USERADDR, TRANSPORT = 0, 1, 2
NAME = re.compile(rb"[a-zA-Z_][a-zA-Z0-9_]*")
# What may come before DONE; the PTs send two commands, of some 40 bytes.
MAX_COMMANDS = 16
MAX_SIZE = 128 * 1024  # bytes, heads and bodies

# What the caller of `accept` sends in the end.
OKAY, DENY = HEAD.pack(0x1000, 0), HEAD.pack(0x1001, 0)


class Request(NamedTuple):
    """What a PT says about one of its clients, and need not be true.

    Attributes:
        user_address: where the client comes from, or None if that was not said.
        transport: the transport's name, or "" if that was not said.
    """

    user_address: Address | None
    transport: str


def cookie_file(cookie: bytes) -> bytes:
    """Write the file that tells a PT the cookie, 32 random bytes (2.1.2)."""
    assert len(cookie) == COOKIE_LENGTH  # PTs refuse any other file
    return COOKIE_HEADER + cookie


def accept(*, cookie: bytes, nonce: bytes) -> Generator[Ask, bytes, Request]:
    """Let a PT prove itself and ask for a connection, up to its DONE.

    Args:
        cookie: what the PT must know, 32 bytes.
        nonce: 32 random bytes, made for this connection.

    Raises:
        ProtocolError: it does not know the cookie (and was told so), or says what the
            specification does not allow.
    """
    yield from _authenticate(cookie, nonce)
    user_address, transport = None, ""
    commands, size = 0, 0
    head = yield Ask(AUTHENTICATED, HEAD.size)
    while True:
        command, length = HEAD.unpack(head)
        if command == DONE:
            yield Ask(b"", length)  # a body means nothing
            return Request(user_address, transport)
        commands, size = commands + 1, size + HEAD.size + length
        if commands > MAX_COMMANDS or size > MAX_SIZE:
            raise ProtocolError(
                f"the PT sent the Extended ORPort more than {MAX_COMMANDS} commands or "
                f"{MAX_SIZE} bytes of them"
            )
        body = yield Ask(b"", length)
        # 3.1: any other command is ignored; 3.2: of the same ones the last counts.
        if command == USERADDR:
            user_address = _user_address(body)
        elif command == TRANSPORT:
            transport = _transport(body)
        head = yield Ask(b"", HEAD.size)


def _authenticate(cookie: bytes, nonce: bytes) -> Generator[Ask, bytes, None]:
    """Refuse whoever does not know the cookie; that it is known is still to be said."""
    chosen = yield Ask(AUTHENTICATION_TYPES, 1)
    if chosen != SAFE_COOKIE:
        raise ProtocolError(
            f"who called the Extended ORPort wants authentication of type {chosen[0]}"
        )
    nonces = (yield Ask(b"", NONCE_LENGTH)) + nonce
    proof = yield Ask(
        digest(cookie, FROM_SERVER + nonces, "sha256") + nonce, HASH_LENGTH
    )
    if not compare_digest(proof, digest(cookie, FROM_CLIENT + nonces, "sha256")):
        yield Ask(NOT_AUTHENTICATED, 0)
        raise ProtocolError("who called the Extended ORPort does not know its cookie")


def _user_address(body: bytes) -> Address:
    """Read USERADDR (3.2.1): ``IPv4:port`` or ``[IPv6]:port``; port 0 is one, too."""
    # A backslash is in no address, and so nothing becomes one that is not ASCII.
    host, _, port = body.decode("ascii", "backslashreplace").rpartition(":")
    try:
        number = 0 if port == "0" else parse_port(port)
        return Address(parse_endpoint(f"{host}:1").host, number)
    except ProtocolError:
        # What it was is not repeated: it may be a client's address.
        raise ProtocolError("the PT's USERADDR is no IP address and port") from None


def _transport(body: bytes) -> str:
    """Read TRANSPORT (3.2.2): the name of one, as pt-spec spells it."""
    if not NAME.fullmatch(body):
        raise ProtocolError("the PT's TRANSPORT is no name of a transport")
    return body.decode("ascii")
