"""Real TCP connections on loopback, whose far ends a test plays."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import select
import socket
import sys
import termios
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Pair = tuple[socket.socket, socket.socket]

CLOSED, CLOSE_WAIT = 7, 8  # include/net/tcp_states.h
HANGUP_LIMIT = 30_000  # milliseconds; loopback takes none


def pair(*, send_buffer: int = 0, receive_buffer: int = 0) -> Pair:
    """Connect two non-blocking sockets by TCP.

    Args:
        send_buffer: what the first one may hold unsent, or 0 for the system's choice.
        receive_buffer: what the second one may hold unread, likewise.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        if receive_buffer:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        first = socket.create_connection(server.getsockname())
        second, _ = server.accept()
    if send_buffer:
        first.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
    for sock in (first, second):
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return first, second


@contextlib.contextmanager
def closing(*pairs: Pair) -> Iterator[None]:
    """Close pairs of sockets at the end of a test, however it ends."""
    try:
        yield
    finally:
        for sock in (each for both in pairs for each in both):
            sock.close()


@contextlib.contextmanager
def not_listening(listener: socket.socket) -> Iterator[None]:
    """Close a listener, and let nobody else have its port for the block."""
    with socket.socket(listener.family) as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        address = listener.getsockname()
        listener.close()
        holder.bind(address)
        yield


def noise(size: int) -> bytes:
    """Return bytes of which no two stretches look alike; always the same ones."""
    return hashlib.shake_128(str(size).encode()).digest(size)


async def write(sock: socket.socket, data: bytes) -> None:
    """Send all of it."""
    await asyncio.get_running_loop().sock_sendall(sock, data)


async def write_on(sock: socket.socket) -> None:
    """Send without an end, until the other side has had enough."""
    data = noise(100_000)
    with contextlib.suppress(OSError):
        while True:
            await write(sock, data)


async def read(sock: socket.socket, size: int) -> bytes:
    """Read so many bytes, or fewer if the end comes first."""
    loop = asyncio.get_running_loop()
    data = bytearray()
    while len(data) < size:
        more = await loop.sock_recv(sock, size - len(data))
        if not more:
            break
        data += more
    return bytes(data)


async def read_to_end(sock: socket.socket) -> bytes:
    """Read all that comes until the peer ends; a reset is an error."""
    loop = asyncio.get_running_loop()
    data = bytearray()
    while more := await loop.sock_recv(sock, 1024 * 1024):
        data += more
    return bytes(data)


async def is_reset(sock: socket.socket) -> bool:
    """Read to the end; return whether it is a reset."""
    try:
        await read_to_end(sock)
    except ConnectionResetError:
        return True
    return False


async def readable(sock: socket.socket) -> None:
    """Wait until there is something to read, be it the end."""
    loop = asyncio.get_running_loop()
    event = asyncio.Event()
    loop.add_reader(sock.fileno(), event.set)
    try:
        await event.wait()
    finally:
        loop.remove_reader(sock.fileno())


async def turn_until(is_so: Callable[[], object]) -> None:
    """Turn the loop until something is so."""
    while not is_so():  # noqa: ASYNC110 - nobody else would tell
        await asyncio.sleep(0)


def is_silent(sock: socket.socket) -> bool:
    """Return whether there is neither a byte nor an end to read."""
    try:
        sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    return False


def unread(sock: socket.socket) -> int:
    """Return how many bytes have come that nobody has read yet."""
    answer = fcntl.ioctl(sock, termios.FIONREAD, bytes(4))
    return int.from_bytes(answer, sys.byteorder)


def wait_for_hangup(sock: socket.socket) -> None:
    """Wait until the kernel knows that a connection is dead in both directions."""
    poll = select.poll()
    poll.register(sock, 0)  # POLLHUP and POLLERR come unasked
    assert poll.poll(HANGUP_LIMIT)


def state(sock: socket.socket) -> int:
    """Return a connection's state in the kernel: `CLOSED`, `CLOSE_WAIT` or another."""
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]


def is_free(loop: asyncio.AbstractEventLoop, *sockets: socket.socket) -> bool:
    """Return whether the loop watches none of the sockets; it does not from now on."""
    # A list: each must be asked.
    watched = [
        stop(sock.fileno())
        for sock in sockets
        for stop in (loop.remove_reader, loop.remove_writer)
    ]
    return not any(watched)
