"""Connect: to the PT, a program of this machine, the server or a proxy before it."""

from __future__ import annotations

import asyncio
import errno
import os
from typing import TYPE_CHECKING, TypeVar

from pt_bridge.errors import SHORTAGES, Unreached, Unresolved
from pt_bridge.net import resolve
from pt_bridge.net.dialling import (
    HandshakeDialling,
    connect_at_once,
    connected,
    raise_error_of,
    socket_for,
)
from pt_bridge.net.handshake import HandshakeRunner
from pt_bridge.net.time_limit import TimeLimit

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Generator, Sequence

    from pt_bridge.net.dialling import Dialling, OnConnected
    from pt_bridge.protocol.address import Address
    from pt_bridge.protocol.handshake import Ask
    from pt_bridge.protocol.socks_client import Handshake

T = TypeVar("T")

# PTs give a server 60 s to answer and say so then (SK-11).
DIAL_LIMIT = 90.0
# How long one address of the server may take to answer, where we connect to it
# ourselves (seconds).
CONNECT_LIMIT = 20.0
# Between two tries to reach a program that does not listen yet (seconds).
RETRY = 0.05


async def connect_and_handshake(
    listener: Address,
    handshake: Handshake,
    *,
    limit: float = DIAL_LIMIT,
    peer: str = "the PT",
    has_died: Callable[[], bool] | None = None,
) -> socket.socket:
    """Connect to the PT, or to a proxy, and go through a handshake.

    Args:
        listener: where it listens, an IP address.
        handshake: what to say to it (`socks_client.connect`,
            `http_connect.connect`).
        limit: how long all of it may take, in seconds.
        peer: what errors call it.
        has_died: tells whether it has; then nothing is said, for its port may be
            another user's by now, who must not hear where we want to go.

    Returns:
        The connection, ready for the tunnel's own bytes; none of them was read.

    Raises:
        ProtocolError: it refused, or its answer cannot be used.
        OSError: it cannot be reached; TimeoutError is one of these.
    """
    loop = asyncio.get_running_loop()
    time_limit = TimeLimit(loop, limit)

    def begin(on_connected: OnConnected) -> Dialling:
        return HandshakeDialling(
            loop,
            listener,
            handshake,
            on_connected,
            limit=time_limit,
            peer=peer,
            has_died=has_died,
        )

    try:
        return await connected(begin)
    finally:
        time_limit.close()


async def shake_hands(
    sock: socket.socket, handshake: Generator[Ask, bytes, T], *, limit: float, peer: str
) -> T:
    """Run a handshake on a connection.

    Args:
        sock: a connected, non-blocking socket, which stays the caller's.
        handshake: what to say, and to hear.
        limit: how long all of it may take, in seconds.
        peer: what errors call the other side.

    Returns:
        What the handshake returns.

    Raises:
        ProtocolError: it was refused, or its answer cannot be used.
        OSError: the connection failed; TimeoutError is one of these.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T | Exception] = loop.create_future()

    def on_done(got: T | Exception) -> None:
        if not done.done():  # else nobody waits any more
            done.set_result(got)

    runner = HandshakeRunner(loop, sock, handshake, on_done, peer=peer)
    try:
        async with asyncio.timeout(limit):
            got = await done
    finally:
        runner.stop()
    if isinstance(got, Exception):
        raise got
    return got


async def connect_local(
    address: Address, *, patience: float, limit: float
) -> socket.socket:
    """Connect to a program of this machine, which may be about to listen.

    Args:
        address: an IP address and a port.
        patience: how long to try again where nobody listens, in seconds.
        limit: how long all of it may take, in seconds.

    Raises:
        OSError: it cannot be reached; TimeoutError is one of these.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience
    async with asyncio.timeout(limit):
        while True:
            sock = socket_for(address)
            try:
                await _connect(sock, (address.host, address.port))
            except ConnectionRefusedError:
                sock.close()
                if loop.time() > deadline:
                    raise
            except BaseException:
                sock.close()
                raise
            else:
                return sock
            await asyncio.sleep(RETRY)


async def connect_remote(
    server: Address, *, limit: float = CONNECT_LIMIT
) -> socket.socket:
    """Connect to the server, over the Internet.

    Args:
        server: its name is resolved, and its addresses tried in turn.
        limit: how long each may take, in seconds.

    Raises:
        Unresolved: it has none.
        Unreached: none answers; the last one's error.
        OSError: this machine is short of something.
    """
    try:
        found = await resolve.resolve(server)
    except OSError as error:
        raise unresolved(error) from None
    return await connect_first(found, limit=limit)


async def connect_first(
    addresses: Sequence[Address], *, limit: float = CONNECT_LIMIT
) -> socket.socket:
    """Connect to the first of a server's addresses that answers.

    Args:
        addresses: IP addresses and ports, at least one.
        limit: how long each may take, in seconds.

    Raises:
        Unreached: none answers; the last one's error.
        OSError: this machine is short of something.
    """
    failure = 0
    for address in addresses:
        sock = None
        try:
            sock = socket_for(address)
            async with asyncio.timeout(limit):
                await _connect(sock, (address.host, address.port))
        except OSError as error:  # no answer in time among them
            if sock is not None:
                sock.close()
            if error.errno in SHORTAGES:
                raise
            failure = error.errno or errno.ETIMEDOUT
        except BaseException:
            if sock is not None:
                sock.close()
            raise
        else:
            return sock
    raise unreached(failure)


def unresolved(error: OSError) -> Unresolved:
    """Return the error for a server's name that has no address."""
    why = str(error.strerror or error).lower()
    return Unresolved(f"the server's name cannot be resolved: {why}")


def unreached(number: int) -> Unreached:
    """Return the error for a server to which no TCP connection could be made."""
    why = os.strerror(number).lower()
    return Unreached(f"the server cannot be reached: {why}", number)


async def _connect(sock: socket.socket, address: tuple[str, int]) -> None:
    if not connect_at_once(sock, address):
        await _writable(sock)
        raise_error_of(sock)


async def _writable(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    writable = loop.create_future()
    loop.add_writer(sock.fileno(), _resolve, writable)
    try:
        await writable
    finally:
        loop.remove_writer(sock.fileno())


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
