"""The client's side of SOCKS towards a PT (RFC 1928, RFC 1929, pt-spec 3.5).

It is SOCKS5; and SOCKS4 for a PT that offers nothing newer, which carries IPv4
addresses only, and the transport's arguments in the field USERID. Each is a handshake
(`pt_bridge.protocol.handshake`) that returns when the tunnel is open.

Written here and not left to a library: the user name and password are the transport's
arguments, and what may go wrong with them is this program's business.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, NamedTuple

from pt_bridge.errors import ArgumentsRejected, ConnectRefused, ProtocolError
from pt_bridge.protocol.handshake import Ask
from pt_bridge.protocol.pt_args import credentials

if TYPE_CHECKING:
    from collections.abc import Generator

    from pt_bridge.protocol.address import Address

    Handshake = Generator[Ask, bytes, None]

VERSION = 5
NO_AUTHENTICATION, USER_NAME_AND_PASSWORD = 0, 2
AUTHENTICATION_VERSION = 1
CONNECT = 1
IPV4, NAME, IPV6 = 1, 3, 4
SUCCEEDED = 0
ADDRESS_TYPES = (IPV4, NAME, IPV6)
ADDRESS_LENGTHS = {IPV4: 4, IPV6: 16}
PORT_LENGTH = 2
SOCKS4_VERSION = 4
SOCKS4_REPLY_VERSION, SOCKS4_GRANTED = 0, 0x5A
SOCKS4_REPLY_LENGTH = 8


def connect(target: Address, arguments: bytes) -> Handshake:
    """Open a tunnel to the target through a PT, by SOCKS5.

    Args:
        target: the server; a name is left to the PT to resolve.
        arguments: the transport's arguments, encoded (`args.encode_client`).

    Raises:
        ArgumentsRejected: the PT could not parse the arguments.
        ConnectRefused: the PT did not reach the server; its reply's code says no more
            than that (it is 1 for nearly everything).
        ProtocolError: the answer is not SOCKS5, or would lose the arguments.
    """
    says = _messages(target, arguments)
    answer = yield says.greeting
    if answer != says.method:
        raise ProtocolError(f"the PT did not take SOCKS5 method {says.method[1]}")
    if says.authentication is not None:
        answer = yield says.authentication
        if answer[1] != SUCCEEDED:
            raise ArgumentsRejected(
                "the PT did not understand the transport's arguments"
            )
    answer = yield says.request
    version, reply, _, kind = answer
    if version != VERSION:
        raise ProtocolError("the PT's answer is not SOCKS5")
    if reply != SUCCEEDED:
        raise ConnectRefused(f"the PT answered with SOCKS reply {reply}")
    if kind not in ADDRESS_TYPES:
        raise ProtocolError(f"the PT's reply holds an address of unknown type {kind}")
    yield from read_address(kind)


def greet() -> Handshake:
    """Ask a PT for nothing, by SOCKS5: one that works answers at once.

    Whatever it answers tells that it lives.
    """
    yield Ask(bytes([VERSION, 1, NO_AUTHENTICATION]), 2)


def connect_socks4(target: Address, arguments: bytes) -> Handshake:
    """Open a tunnel to the target through a PT that offers SOCKS4 only.

    Args:
        target: the server, an IPv4 address.
        arguments: the transport's arguments, encoded (`args.encode_client`).

    Raises:
        ConnectRefused: the PT did not reach the server.
        ProtocolError: the target is no IPv4 address, or the answer is not SOCKS4.
    """
    ip = target.ip
    if ip is None or ip.version != 4:
        raise ProtocolError("the PT speaks SOCKS4, which carries IPv4 addresses only")
    port = target.port.to_bytes(PORT_LENGTH, "big")
    answer = yield Ask(
        bytes([SOCKS4_VERSION, CONNECT]) + port + ip.packed + arguments + b"\0",
        SOCKS4_REPLY_LENGTH,
    )
    if answer[0] != SOCKS4_REPLY_VERSION:
        raise ProtocolError("the PT's answer is not SOCKS4")
    if answer[1] != SOCKS4_GRANTED:
        raise ConnectRefused(f"the PT answered with SOCKS4 reply {answer[1]}")


def read_address(kind: int) -> Generator[Ask, bytes, bytes]:
    """Read an address of one of `ADDRESS_TYPES` (RFC 1928 5).

    Returns:
        The bytes of the host, and the two of the port.
    """
    if kind == NAME:
        (length,) = yield Ask(b"", 1)
    else:
        length = ADDRESS_LENGTHS[kind]
    return (yield Ask(b"", length + PORT_LENGTH))


class _Messages(NamedTuple):
    """What is said to a PT for a server, and the method that it has to take."""

    greeting: Ask
    method: bytes
    authentication: Ask | None
    request: Ask


# A client has a few servers, and connects to them again and again.
@functools.lru_cache(maxsize=16)
def _messages(target: Address, arguments: bytes) -> _Messages:
    # RFC 1928 3: one method alone, so that a PT cannot choose to lose the arguments,
    # nor to ask for some where there are none.
    pair = credentials(arguments)
    method = NO_AUTHENTICATION if pair is None else USER_NAME_AND_PASSWORD
    authentication = None
    if pair is not None:  # RFC 1929 2
        user, password = pair
        authentication = Ask(
            bytes([AUTHENTICATION_VERSION, len(user)])
            + user
            + bytes([len(password)])
            + password,
            2,
        )
    return _Messages(
        greeting=Ask(bytes([VERSION, 1, method]), 2),
        method=bytes([VERSION, method]),
        authentication=authentication,
        # RFC 1928 4 and 6
        request=Ask(bytes([VERSION, CONNECT, 0]) + _address(target), 4),
    )


def _address(target: Address) -> bytes:
    port = target.port.to_bytes(PORT_LENGTH, "big")
    ip = target.ip
    if ip is None:
        name = target.host.encode("ascii")
        return bytes([NAME, len(name)]) + name + port
    kind = IPV4 if ip.version == 4 else IPV6
    return bytes([kind]) + ip.packed + port
