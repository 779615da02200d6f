r"""The server's side of SOCKS5 towards tor and Arti, as a PT has it (pt-spec 3.5).

Who calls sends the transport's arguments in the place of a user name and a password
(RFC 1929), and then the address of a bridge (RFC 1928)::

    tor         05, the methods that it knows
    pt-bridge   05, 02 for a user name and a password, or 00; FF and the end
    tor         01, the arguments, split after 255 bytes
    pt-bridge   01 00, or 01 01 and the end
    tor         05 01 00, the address
    pt-bridge   a reply, which is left to the caller

A handshake is a generator (`pt_bridge.protocol.handshake`), and nothing is read beyond
the address.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, NamedTuple

from pt_bridge.errors import ProtocolError
from pt_bridge.protocol.address import Address, parse_host, parse_port
from pt_bridge.protocol.handshake import Ask
from pt_bridge.protocol.pt_args import decode_client
from pt_bridge.protocol.socks_client import (
    ADDRESS_TYPES,
    AUTHENTICATION_VERSION,
    CONNECT,
    IPV4,
    NAME,
    NO_AUTHENTICATION,
    PORT_LENGTH,
    SOCKS4_VERSION,
    SUCCEEDED,
    USER_NAME_AND_PASSWORD,
    VERSION,
    read_address,
)

if TYPE_CHECKING:
    from collections.abc import Generator

# RFC 1928 3 and 6.
NO_ACCEPTABLE_METHOD = 0xFF
FAILED, COMMAND_NOT_SUPPORTED, ADDRESS_TYPE_NOT_SUPPORTED = 1, 7, 8
# RFC 1929 2.
NOT_AUTHENTICATED = 1
# What stands for a password where all arguments are in the user name (pt-spec 3.5).
NO_PASSWORD = b"\0"


class Request(NamedTuple):
    """What tor wants.

    Attributes:
        target: the bridge.
        arguments: the transport's arguments, in order, duplicates kept.
        encoded_arguments: the same as they came, for the PT.
    """

    target: Address
    arguments: list[tuple[str, str]]
    encoded_arguments: bytes


def reply(code: int) -> bytes:
    """Write the answer to a request (RFC 1928 6): `SUCCEEDED`, or `FAILED`."""
    return bytes([VERSION, code, 0, IPV4, 0, 0, 0, 0, 0, 0])


def accept() -> Generator[Ask, bytes, Request]:
    """Read what tor wants, up to the address; the caller sends the `reply`.

    Raises:
        ProtocolError: it is not SOCKS5 as PTs speak it; whoever calls was told so.
    """
    encoded = yield from _arguments()
    try:
        arguments = decode_client(encoded)
    except ProtocolError:
        yield Ask(bytes([AUTHENTICATION_VERSION, NOT_AUTHENTICATED]), 0)
        raise
    # RFC 1928 4; the answer to the method alone, or to the arguments, goes first.
    answer = bytes([VERSION, NO_AUTHENTICATION])
    if encoded:
        answer = bytes([AUTHENTICATION_VERSION, SUCCEEDED])
    version, command, _, kind = yield Ask(answer, 4)
    if version != VERSION:
        raise ProtocolError("what came to the SOCKS port is not SOCKS5")
    if kind not in ADDRESS_TYPES:
        yield Ask(reply(ADDRESS_TYPE_NOT_SUPPORTED), 0)
        raise ProtocolError(
            f"what came to the SOCKS port holds an address of type {kind}"
        )
    data = yield from read_address(kind)
    if command != CONNECT:
        yield Ask(reply(COMMAND_NOT_SUPPORTED), 0)
        raise ProtocolError(f"the SOCKS port knows CONNECT, and not command {command}")
    try:
        return Request(_address(kind, data), arguments, encoded)
    except ProtocolError:
        yield Ask(reply(FAILED), 0)
        raise


def _arguments() -> Generator[Ask, bytes, bytes]:
    """Read the greeting, and the arguments where there are some."""
    version, number = yield Ask(b"", 2)
    if version == SOCKS4_VERSION:
        raise ProtocolError(
            "what came to the SOCKS port is SOCKS4: write socks5 in tor's "
            "ClientTransportPlugin line"
        )
    if version != VERSION:
        raise ProtocolError("what came to the SOCKS port is not SOCKS5")
    methods = yield Ask(b"", number)
    # Where both are offered, there are arguments: without the method they are lost.
    if USER_NAME_AND_PASSWORD in methods:
        return (yield from _user_and_password())
    if NO_AUTHENTICATION not in methods:
        yield Ask(bytes([VERSION, NO_ACCEPTABLE_METHOD]), 0)
        raise ProtocolError("what came to the SOCKS port knows no method that PTs do")
    return b""


def _user_and_password() -> Generator[Ask, bytes, bytes]:
    """Read the user name and the password (RFC 1929), which are the arguments."""
    version, length = yield Ask(bytes([VERSION, USER_NAME_AND_PASSWORD]), 2)
    if version != AUTHENTICATION_VERSION:
        raise ProtocolError("what came to the SOCKS port is no user name and password")
    # The user name, and the password's length.
    *name, length = yield Ask(b"", length + 1)
    password = yield Ask(b"", length)
    encoded = bytes(name)
    if password != NO_PASSWORD:
        encoded += password
    if not encoded:
        yield Ask(bytes([AUTHENTICATION_VERSION, NOT_AUTHENTICATED]), 0)
        raise ProtocolError("what came to the SOCKS port has an empty user name")
    return encoded


def _address(kind: int, data: bytes) -> Address:
    """Return what `read_address` has read."""
    host, port = data[:-PORT_LENGTH], int.from_bytes(data[-PORT_LENGTH:], "big")
    parse_port(str(port))
    if kind == NAME:
        # A backslash is in no name, and so nothing becomes one that is not ASCII.
        return Address(parse_host(host.decode("ascii", "backslashreplace")), port)
    return Address(str(ip_address(host)), port)
