"""What the client of a relay does: move much, or little, or connect and leave.

Every socket has limits of the kernel's own on what one call may wait, so nothing here
waits without end; and it blocks, as one with Python's own limit would not.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from bench.far_end import CHUNK, ECHO, GIVE, HEADER, PING, TAKE, UNPACED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Address = tuple[str, int]
    Dial = Callable[[], socket.socket]

# How long one call on a socket may wait (seconds).
PATIENCE = 30
MESSAGE = bytes(range(64))
ENDLESS = 1 << 60
# How long a load beside a measurement may last at all (seconds).
LOAD_LIMIT = 120
# How many connections are made in a row: a relay may keep them for some seconds, and
# beyond the limit of open files it would be that limit that is measured.
MOST_CONNECTIONS = 4_000
# What it takes for a load to flow at its full rate (seconds).
LOAD_START = 0.3


class Transfer(NamedTuple):
    """Bytes that were moved, and in how many seconds."""

    number: int
    seconds: float


def connect(address: Address) -> socket.socket:
    """Connect, blocking, without Nagle's algorithm."""
    sock = socket.socket()
    try:
        limit = struct.pack("ll", PATIENCE, 0)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, UNPACED)
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock


def receive(sock: socket.socket, number: int) -> bytes:
    """Read exactly so many bytes."""
    data = b""
    while len(data) < number:
        more = sock.recv(number - len(data))
        if not more:
            raise ConnectionError("the connection ended early")
        data += more
    return data


@contextmanager
def uploaded(dial: Dial, number: int) -> Iterator[Transfer]:
    """Send so many bytes; the connection is open as long as the block lasts."""
    data = memoryview(bytes(CHUNK))
    with dial() as sock:
        began = time.perf_counter()
        sock.sendall(HEADER.pack(TAKE, number))
        left = number
        while left > 0:
            left -= sock.send(data[: min(left, CHUNK)])
        receive(sock, 1)
        yield Transfer(number, time.perf_counter() - began)


@contextmanager
def downloaded(dial: Dial, number: int) -> Iterator[Transfer]:
    """Fetch so many bytes; the connection is open as long as the block lasts."""
    place = bytearray(CHUNK)
    with dial() as sock:
        began = time.perf_counter()
        sock.sendall(HEADER.pack(GIVE, number))
        left = number
        while left > 0:
            taken = sock.recv_into(place, min(left, CHUNK), socket.MSG_TRUNC)
            if not taken:
                raise ConnectionError("the connection ended early")
            left -= taken
        yield Transfer(number, time.perf_counter() - began)


def round_trips(dial: Dial, number: int) -> list[float]:
    """Send 64 bytes and wait until they are back, so many times; return the seconds."""
    with dial() as sock:
        sock.sendall(HEADER.pack(PING, 0))
        return [_round_trip(sock) for _ in range(number)]


def _round_trip(sock: socket.socket) -> float:
    began = time.perf_counter()
    sock.sendall(MESSAGE)
    receive(sock, len(MESSAGE))
    return time.perf_counter() - began


@contextmanager
def echoing(dial: Dial, number: int) -> Iterator[list[socket.socket]]:
    """Return so many connections, each of which has echoed once."""
    socks: list[socket.socket] = []
    try:
        for _ in range(number):
            sock = dial()
            socks.append(sock)
            sock.sendall(HEADER.pack(ECHO, 0))
            _round_trip(sock)
        yield socks
    finally:
        for sock in socks:
            sock.close()


def round_trips_in_turn(socks: Sequence[socket.socket], seconds: float) -> list[float]:
    """Measure round trips on one connection after the other, in seconds."""
    taken = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        taken += [_round_trip(sock) for sock in socks]
    return taken


@contextmanager
def load(dial: Dial) -> Iterator[None]:
    """Send as much as goes through one connection, from a process of its own."""
    pid = os.fork()
    if not pid:
        try:
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.signal(number, signal.SIG_DFL)
            signal.alarm(LOAD_LIMIT)
            with uploaded(dial, ENDLESS):
                pass
        finally:
            os._exit(1)  # it has no end, so this is none
    try:
        time.sleep(LOAD_START)
        yield
        ended, _ = os.waitpid(pid, os.WNOHANG)
        if ended:
            pid = 0
            raise ConnectionError("the load ended early")
    finally:
        if pid:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def connections(
    dial: Dial, seconds: float, *, at_once: int, far_end_closes: bool
) -> Transfer:
    """Connect, echo 64 bytes and close, again and again.

    Args:
        dial: makes a connection.
        seconds: how long, where that are not more than `MOST_CONNECTIONS`.
        at_once: how many are under way at any time.
        far_end_closes: whether the far end closes first, and we when we have seen it.

    Returns:
        How many were done, and in how many seconds.
    """
    request = HEADER.pack(ECHO, len(MESSAGE) if far_end_closes else 0) + MESSAGE
    done = 0
    socks: dict[int, socket.socket] = {}
    poll = select.epoll()

    def begin() -> None:
        sock = dial()
        socks[sock.fileno()] = sock
        poll.register(sock, select.EPOLLIN)
        sock.sendall(request)

    try:
        began = time.perf_counter()
        for _ in range(at_once):
            begin()
        while done < MOST_CONNECTIONS and time.perf_counter() - began < seconds:
            events = poll.poll(PATIENCE)
            if not events:
                raise ConnectionError("a connection was not answered")
            for descriptor, _ in events:
                sock = socks.pop(descriptor)
                receive(sock, len(MESSAGE))
                if far_end_closes and sock.recv(1):
                    raise ConnectionError("more came than was sent")
                sock.close()
                done += 1
                begin()
        return Transfer(done, time.perf_counter() - began)
    finally:
        poll.close()
        for sock in socks.values():
            sock.close()
