"""Open a tunnel through the PT's SOCKS listener."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

from pt_bridge.connection import prepare
from pt_bridge.errors import ProtocolError

if TYPE_CHECKING:
    from pt_bridge.protocol.address import Address
    from pt_bridge.protocol.socks5 import Handshake

# PTs give a server 60 s to answer and say so then (conformance SK-11).
DIAL_LIMIT = 90.0


async def dial(
    listener: Address, handshake: Handshake, *, limit: float = DIAL_LIMIT
) -> socket.socket:
    """Connect to the PT and go through a handshake.

    Args:
        listener: the PT's SOCKS listener, an IP address.
        handshake: what to say to it (`socks5.connect`, `socks4.connect`).
        limit: how long all of it may take, in seconds.

    Returns:
        The connection, ready for the tunnel's own bytes; none of them was read.

    Raises:
        ProtocolError: the PT refused, or its answer cannot be used.
        OSError: the PT cannot be reached; TimeoutError is one of these.
    """
    loop = asyncio.get_running_loop()
    assert listener.ip is not None  # Launch takes nothing else
    family = socket.AF_INET if listener.ip.version == 4 else socket.AF_INET6
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        prepare(sock)
        async with asyncio.timeout(limit):
            await loop.sock_connect(sock, (listener.host, listener.port))
            await _converse(loop, sock, handshake)
    except BaseException:
        sock.close()
        raise
    return sock


async def _converse(
    loop: asyncio.AbstractEventLoop, sock: socket.socket, handshake: Handshake
) -> None:
    """Send and read what the handshake asks for, to its end."""
    answer = None
    while True:
        try:
            ask = next(handshake) if answer is None else handshake.send(answer)
        except StopIteration:
            return
        if ask.send:
            await loop.sock_sendall(sock, ask.send)
        answer = await _read_exactly(loop, sock, ask.read)


async def _read_exactly(
    loop: asyncio.AbstractEventLoop, sock: socket.socket, number: int
) -> bytes:
    data = b""
    while len(data) < number:
        more = await loop.sock_recv(sock, number - len(data))
        if not more:
            raise ProtocolError("the PT closed the connection during the handshake")
        data += more
    return data
