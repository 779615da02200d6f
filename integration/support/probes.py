"""Who probes a server's port: what they send, and what they then see."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
from typing import TYPE_CHECKING, NamedTuple

from pt_bridge.front.hangups import Hangups

if TYPE_CHECKING:
    from integration.support.endpoints import Address

# How soon a port answers with a reset once it has closed (seconds): Go's HTTP server
# takes half a second.
RESET_LIMIT = 5.0
READ_SIZE = 64 * 1024


class Probe(NamedTuple):
    """What a prober sends.

    Attributes:
        name: what it is called.
        pieces: when (seconds after the connect), and what.
        half_closes: when it sends its end, likewise; None for never.
    """

    name: str
    pieces: tuple[tuple[float, bytes], ...] = ()
    half_closes: float | None = None


class Seen(NamedTuple):
    """What a prober sees.

    Attributes:
        received: the bytes that came.
        end: what came then, ``FIN``, ``RST`` or nothing.
        then: what came of one more byte behind a FIN, ``RST`` or nothing; empty where
            none could be sent.
        seconds: when the end came, counted from the connect.
    """

    received: bytes
    end: str
    then: str
    seconds: float

    def __str__(self) -> str:
        return f"{len(self.received)} bytes, {self.end}, {self.then or '-'}"


def noise(size: int) -> bytes:
    """Return bytes that look random, always the same ones."""
    return hashlib.shake_128(b"a probe").digest(size)


def probes() -> list[Probe]:
    """List the kinds of probes."""
    made = [Probe("nothing"), Probe("nothing, and an end", half_closes=0)]
    for size in (1, 50, 2000, 8191, 8192, 9000, 17_000, 40_000):
        pieces = ((0.0, noise(size)),)
        made.append(Probe(f"{size} bytes", pieces))
        made.append(Probe(f"{size} bytes, and an end", pieces, half_closes=0))
    for late in (0.1, 0.2, 0.3):
        name, pieces = f"50 bytes after {late} s", ((late, noise(50)),)
        made.append(Probe(name, pieces))
        made.append(Probe(f"{name}, and an end", pieces, half_closes=late))
    for first, second in ((50, 2000), (8000, 9000)):
        name = f"{first} bytes, and {second} a second later"
        made.append(Probe(name, ((0.0, noise(first)), (1.0, noise(second)))))
    made.append(Probe("nothing, and an end a second later", half_closes=1))
    request = b"GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n"
    made.append(Probe("a request of HTTP", ((0.0, request),)))
    made.append(Probe("the same, and an end", ((0.0, request),), half_closes=0))
    return made


async def see(
    address: Address,
    probe: Probe,
    hangups: Hangups,
    *,
    begin: float,
    limit: float,
) -> Seen:
    """Probe a port, and return what is seen.

    Args:
        address: the port.
        probe: what is sent.
        hangups: tells of a reset behind a FIN.
        begin: when to connect, on the loop's clock.
        limit: how long to wait for an end, in seconds.
    """
    loop = asyncio.get_running_loop()
    await _at(begin)
    with socket.socket() as sock:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await loop.sock_connect(sock, address)
        began = loop.time()
        async with asyncio.TaskGroup() as group:
            sending = group.create_task(_send(sock, probe, began))
            received, end = await _receive(sock, limit)
            seconds = loop.time() - began
            sending.cancel()
        then = ""
        if end == "FIN" and probe.half_closes is None:
            then = await _write_behind(sock, hangups)
        return Seen(received, end, then, seconds)


async def _send(sock: socket.socket, probe: Probe, began: float) -> None:
    with contextlib.suppress(OSError):  # its end has come
        for seconds, data in probe.pieces:
            await _at(began + seconds)
            await asyncio.get_running_loop().sock_sendall(sock, data)
        if probe.half_closes is not None:
            await _at(began + probe.half_closes)
            sock.shutdown(socket.SHUT_WR)


async def _at(when: float) -> None:
    """Wait until it is so late, which is a part of what a prober does."""
    loop = asyncio.get_running_loop()
    if when > loop.time():
        reached = loop.create_future()
        timer = loop.call_at(when, reached.set_result, None)
        try:
            await reached
        finally:
            timer.cancel()


async def _receive(sock: socket.socket, limit: float) -> tuple[bytes, str]:
    data = bytearray()
    try:
        async with asyncio.timeout(limit):
            while more := await asyncio.get_running_loop().sock_recv(sock, READ_SIZE):
                data += more
    except ConnectionResetError:
        return bytes(data), "RST"
    except TimeoutError:
        return bytes(data), "nothing"
    return bytes(data), "FIN"


async def _write_behind(sock: socket.socket, hangups: Hangups) -> str:
    """Write to who has sent its end; return whether that is answered with a reset."""
    reset = asyncio.Event()
    hangups.watch(sock, reset.set)
    try:
        sock.send(b"x")
        async with asyncio.timeout(RESET_LIMIT):
            await reset.wait()
    except ConnectionError:
        return "RST"
    except TimeoutError:
        return "nothing"
    finally:
        hangups.forget(sock)
    return "RST"
