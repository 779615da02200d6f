"""Open a tunnel through the PT's SOCKS listener."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from typing import TYPE_CHECKING

from pt_bridge.connection import prepare
from pt_bridge.errors import ProtocolError

if TYPE_CHECKING:
    from pt_bridge.protocol.address import Address
    from pt_bridge.protocol.socks5 import Ask, Handshake

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
    family = socket.AF_INET6 if ":" in listener.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        prepare(sock)
        call = _Call(asyncio.get_running_loop(), sock, handshake)
        try:
            call.connect((listener.host, listener.port))
            async with asyncio.timeout(limit):
                await call.done
        finally:
            call.stop()
    except BaseException:
        sock.close()
        raise
    return sock


class _Call:
    """A handshake on a socket of its own, driven by the event loop's readers.

    A coroutine that waits for each answer would cost three times as many turns of the
    loop, and opening tunnels is half of what browsers ask of a relay.

    Attributes:
        done: becomes None at the end of the handshake, or the error that ended it.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, sock: socket.socket, handshake: Handshake
    ) -> None:
        self.done: asyncio.Future[None] = loop.create_future()
        self._loop = loop
        self._sock = sock
        self._handshake = handshake
        self._answer = b""
        self._missing = 0
        self._is_connected = False

    def connect(self, address: tuple[str, int]) -> None:
        """Begin; on loopback the system is mostly done with it at once."""
        error = self._sock.connect_ex(address)
        if not error:
            self._connected()
        elif error == errno.EINPROGRESS:
            self._loop.add_writer(self._sock.fileno(), self._look)
        else:
            raise OSError(error, os.strerror(error))

    def stop(self) -> None:
        """Leave the socket alone."""
        if self.done.done() and not self.done.cancelled():
            self.done.exception()  # seen
        if self._is_connected:
            self._loop.remove_reader(self._sock.fileno())
        else:
            self._loop.remove_writer(self._sock.fileno())

    def _look(self) -> None:
        """See how connecting ended."""
        error = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        self._loop.remove_writer(self._sock.fileno())
        if error:
            self._end(OSError(error, os.strerror(error)))
        else:
            self._connected()

    def _connected(self) -> None:
        self._is_connected = True
        self._loop.add_reader(self._sock.fileno(), self._read)
        self._go_on(None)

    def _say(self, ask: Ask) -> None:
        self._missing = ask.read
        try:
            # A few hundred bytes, which the buffer of a new connection always takes.
            if ask.send and self._sock.send(ask.send) < len(ask.send):
                raise BlockingIOError(errno.ENOBUFS, os.strerror(errno.ENOBUFS))
        except OSError as error:
            self._end(error)

    def _read(self) -> None:
        try:
            data = self._sock.recv(self._missing)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._end(error)
            return
        if not data:
            self._end(
                ProtocolError("the PT closed the connection during the handshake")
            )
            return
        self._answer += data
        self._missing -= len(data)
        if not self._missing:
            answer, self._answer = self._answer, b""
            self._go_on(answer)

    def _go_on(self, answer: bytes | None) -> None:
        try:
            if answer is None:
                ask = next(self._handshake)
            else:
                ask = self._handshake.send(answer)
        except StopIteration:
            self._end(None)
        except ProtocolError as error:
            self._end(error)
        else:
            self._say(ask)

    def _end(self, error: Exception | None) -> None:
        if self.done.done():  # cancelled, or out of time
            return
        if error is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(error)
