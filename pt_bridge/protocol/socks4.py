"""The client's side of SOCKS4 towards a PT that offers nothing newer (pt-spec 3.5).

A handshake is a generator as in `pt_bridge.protocol.socks5`. SOCKS4 carries IPv4
addresses only, and the transport's arguments in the field USERID.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pt_bridge.errors import ConnectRefused, ProtocolError
from pt_bridge.protocol.socks5 import CONNECT, PORT_LENGTH, Ask

if TYPE_CHECKING:
    from pt_bridge.protocol.address import Address
    from pt_bridge.protocol.socks5 import Handshake

VERSION = 4
REPLY_VERSION, GRANTED = 0, 0x5A
REPLY_LENGTH = 8


def connect(target: Address, arguments: bytes) -> Handshake:
    """Open a tunnel to the target through a PT.

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
        bytes([VERSION, CONNECT]) + port + ip.packed + arguments + b"\0",
        REPLY_LENGTH,
    )
    if answer[0] != REPLY_VERSION:
        raise ProtocolError("the PT's answer is not SOCKS4")
    if answer[1] != GRANTED:
        raise ConnectRefused(f"the PT answered with SOCKS4 reply {answer[1]}")
