"""The server's side of SOCKS5: the loopback proxy that a PT dials through.

``TOR_PT_PROXY=socks5://user:password@127.0.0.1:port`` (pt-spec 3.2.2) makes a PT ask
here for each of its connections (RFC 1928, RFC 1929). Other users of the machine can
connect as well: so nothing is served without the user name and the password.

A handshake is a generator as in `pt_bridge.protocol.socks5`. One that refuses says so
first, with a step that reads nothing, and raises after it. All of a request is read
before it is answered, or closing the connection could take the answer back.
"""

from __future__ import annotations

from hmac import compare_digest
from ipaddress import ip_address
from typing import TYPE_CHECKING

from pt_bridge.errors import ProtocolError
from pt_bridge.protocol.address import Address, parse_host
from pt_bridge.protocol.socks5 import (
    ADDRESS_LENGTHS,
    ADDRESS_TYPES,
    AUTHENTICATION_VERSION,
    CONNECT,
    IPV4,
    NAME,
    PORT_LENGTH,
    SUCCEEDED,
    USER_NAME_AND_PASSWORD,
    VERSION,
    Ask,
    read_address,
)

if TYPE_CHECKING:
    from collections.abc import Generator

NO_ACCEPTABLE_METHOD = 0xFF
WRONG_PASSWORD = 1


def _reply(code: int) -> bytes:
    """Write a reply (RFC 1928 6); the address it is bound to is nobody's business."""
    return bytes([VERSION, code, 0, IPV4]) + bytes(ADDRESS_LENGTHS[IPV4] + PORT_LENGTH)


# What the caller of `accept` sends in the end.
REPLY_SUCCEEDED = _reply(SUCCEEDED)
REPLY_FAILED = _reply(1)
REPLY_NOT_ALLOWED = _reply(2)
REPLY_UNREACHABLE = _reply(4)
REPLY_REFUSED = _reply(5)
# What `accept` itself sends.
REPLY_COMMAND_UNKNOWN = _reply(7)
REPLY_ADDRESS_UNKNOWN = _reply(8)


def accept(*, user: bytes, password: bytes) -> Generator[Ask, bytes, Address]:
    """Let a client ask for a connection; what it is told then is left to the caller.

    Args:
        user: the only user name that is served, 1 to 255 bytes.
        password: the password that goes with it, likewise.

    Returns:
        Where it wants to go; an IP address written as a name is one.

    Raises:
        ProtocolError: it is not SOCKS5, not who it should be, or asks for what is not
            served.
    """
    yield from _authenticate(user, password)
    # RFC 1928 4
    version, command, _, kind = yield Ask(bytes([AUTHENTICATION_VERSION, SUCCEEDED]), 4)
    if version != VERSION:
        raise ProtocolError("the PT's request to its proxy is not SOCKS5")
    if kind not in ADDRESS_TYPES:
        yield Ask(REPLY_ADDRESS_UNKNOWN, 0)
        raise ProtocolError(f"the PT asked its proxy for an address of type {kind}")
    data = yield from read_address(kind)
    if command != CONNECT:
        yield Ask(REPLY_COMMAND_UNKNOWN, 0)
        raise ProtocolError(f"the PT asked its proxy for SOCKS5 command {command}")
    host, port = data[:-PORT_LENGTH], int.from_bytes(data[-PORT_LENGTH:], "big")
    if kind != NAME:
        return Address(str(ip_address(host)), port)
    try:
        # A backslash is in no name, and so nothing becomes one that is not ASCII.
        return Address(parse_host(host.decode("ascii", "backslashreplace")), port)
    except ProtocolError:
        yield Ask(REPLY_FAILED, 0)
        raise ProtocolError("the PT asked its proxy for no valid host name") from None


def _authenticate(user: bytes, password: bytes) -> Generator[Ask, bytes, None]:
    """Refuse whoever is not the user; that it succeeded is still to be said."""
    # RFC 1928 3
    version, count = yield Ask(b"", 2)
    if version != VERSION:
        raise ProtocolError("who called the PT's proxy does not speak SOCKS5")
    methods = yield Ask(b"", count)
    if USER_NAME_AND_PASSWORD not in methods:
        yield Ask(bytes([VERSION, NO_ACCEPTABLE_METHOD]), 0)
        raise ProtocolError("who called the PT's proxy offers no user name")
    # RFC 1929 2
    version, length = yield Ask(bytes([VERSION, USER_NAME_AND_PASSWORD]), 2)
    if version != AUTHENTICATION_VERSION:
        raise ProtocolError("who called the PT's proxy gives no user name")
    *given_user, length = yield Ask(b"", length + 1)
    given_password = yield Ask(b"", length)
    # Both, always: how long it takes must not tell which is wrong.
    is_user = compare_digest(bytes(given_user), user)
    if not compare_digest(given_password, password) or not is_user:
        yield Ask(bytes([AUTHENTICATION_VERSION, WRONG_PASSWORD]), 0)
        raise ProtocolError("who called the PT's proxy does not know its password")
