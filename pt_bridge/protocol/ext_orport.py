r"""The Extended ORPort, from both its sides (ext-orport-spec).

A server's PT calls there for each of its clients, and says which client it is. We play
tor's part towards the PT (`accept`), and the PT's part towards a tor (`announce`)::

    tor   01 00                                  SAFE_COOKIE is all there is
    PT    01, its nonce
    tor   its hash, its nonce
    PT    its hash
    tor   01, or 00 and the end
    PT    *( command length body )               the last is DONE
    tor   OKAY, or DENY and the end              which `accept` leaves to its caller

A handshake is a generator as in `pt_bridge.protocol.socks_client`. So nothing is read
beyond DONE, or OKAY: what comes behind it is the tunnel's own.
"""

from __future__ import annotations

import re
from hmac import compare_digest, digest
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

from pt_bridge.errors import CookieRefused, Denied, ProtocolError
from pt_bridge.protocol.address import Address, parse_endpoint, parse_port
from pt_bridge.protocol.handshake import Ask

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

# The answers to DONE; the caller of `accept` sends them.
IS_OKAY, IS_DENIED = 0x1000, 0x1001
OKAY, DENY = HEAD.pack(IS_OKAY, 0), HEAD.pack(IS_DENIED, 0)
# How many types of authentication a tor may offer; there is only one kind.
MAX_TYPES = 16


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


def read_cookie_file(content: bytes) -> bytes:
    """Return the cookie in the file that tells a PT of it, 32 bytes (2.1.2).

    Raises:
        ProtocolError: the file holds something else.
    """
    if (
        len(content) != len(COOKIE_HEADER) + COOKIE_LENGTH
        or content[: len(COOKIE_HEADER)] != COOKIE_HEADER
    ):
        raise ProtocolError("it is not the cookie file of an Extended ORPort")
    return content[len(COOKIE_HEADER) :]


def accept(*, cookie: bytes, nonce: bytes) -> Generator[Ask, bytes, Request]:
    """Authenticate a PT, and read its request for a connection, up to its DONE.

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


def announce(
    *, cookie: bytes, nonce: bytes, user_address: Address | None, transport: str
) -> Generator[Ask, bytes, None]:
    """Announce a client to tor, and hear that it takes the connection.

    Args:
        cookie: what tor's cookie file holds, 32 bytes.
        nonce: 32 random bytes, made for this connection.
        user_address: where the client comes from, an IP address and a port; None where
            nobody knows.
        transport: the transport's name.

    Raises:
        CookieRefused: the cookie is not tor's, or not any more.
        Denied: tor does not take the connection.
        ProtocolError: what listens there is no Extended ORPort.
    """
    yield from prove(cookie=cookie, nonce=nonce)
    commands = _command(TRANSPORT, transport) + HEAD.pack(DONE, 0)
    if user_address is not None:
        commands = _command(USERADDR, str(user_address)) + commands
    answer, length = HEAD.unpack((yield Ask(commands, HEAD.size)))
    if answer == IS_DENIED:
        raise Denied("tor did not take the connection (DENY)")
    if answer != IS_OKAY:
        raise ProtocolError(f"tor answered with the unknown command {answer:#06x}")
    yield Ask(b"", length)  # a body means nothing


def prove(*, cookie: bytes, nonce: bytes) -> Generator[Ask, bytes, None]:
    """Prove to tor that we know its cookie, and see that it does (2.1).

    Args:
        cookie: what tor's cookie file holds, 32 bytes.
        nonce: 32 random bytes, made for this connection.

    Raises:
        CookieRefused: the cookie is not tor's, or not any more.
        ProtocolError: what listens there is no Extended ORPort.
    """
    kinds = b""
    while not kinds.endswith(b"\0"):
        if len(kinds) == MAX_TYPES:
            raise ProtocolError("what listens there is no Extended ORPort")
        kinds += yield Ask(b"", 1)
    if SAFE_COOKIE not in kinds:
        raise ProtocolError("tor's Extended ORPort does not know SAFE_COOKIE")
    answer = yield Ask(SAFE_COOKIE + nonce, HASH_LENGTH + NONCE_LENGTH)
    nonces = nonce + answer[HASH_LENGTH:]
    expected = digest(cookie, FROM_SERVER + nonces, "sha256")
    # Whoever took tor's port must not be told who our clients are.
    if not compare_digest(answer[:HASH_LENGTH], expected):
        raise CookieRefused("what listens at the Extended ORPort has another cookie")
    proof = digest(cookie, FROM_CLIENT + nonces, "sha256")
    if (yield Ask(proof, 1)) != AUTHENTICATED:
        raise CookieRefused("tor's Extended ORPort has another cookie")


def _command(number: int, body: str) -> bytes:
    return HEAD.pack(number, len(body)) + body.encode("ascii")


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
