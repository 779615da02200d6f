"""A handshake of `pt_bridge.protocol` on a socket, whichever side of it is ours."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Generic, TypeVar

from pt_bridge.errors import ProtocolError

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Generator

    from pt_bridge.protocol.handshake import Ask

T = TypeVar("T")


class HandshakeRunner(Generic[T]):
    """Sends and reads what a handshake asks for, driven by the event loop's readers.

    A coroutine that waits for each answer would cost three times as many turns of the
    loop, and opening tunnels is half of what browsers ask of a relay.

    Attributes:
        done: becomes what the handshake returns, or the error that ended it:
            ProtocolError, or OSError where the connection failed.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        handshake: Generator[Ask, bytes, T],
        *,
        peer: str = "the PT",
        limit: float | None = None,
    ) -> None:
        """Begin.

        Args:
            loop: the event loop.
            sock: a connected, non-blocking socket, which stays the caller's.
            handshake: what to say and to hear.
            peer: who is on the other side, for the error where it closes.
            limit: after how many seconds a TimeoutError ends it; None where the caller
                does that.
        """
        self.done: asyncio.Future[T] = loop.create_future()
        self._loop = loop
        self._sock = sock
        self._handshake = handshake
        self._peer = peer
        self._answer = b""
        self._missing = 0
        self._timer = None if limit is None else loop.call_later(limit, self._time_out)
        loop.add_reader(sock.fileno(), self._read)
        self._go_on(None)

    def stop(self) -> None:
        """Leave the socket alone; to be called in any case, before it is closed."""
        self._loop.remove_reader(self._sock.fileno())
        if self._timer is not None:
            self._timer.cancel()
        if not self.done.cancel() and not self.done.cancelled():
            self.done.exception()  # seen

    def _read(self) -> None:
        if self.done.done():  # what comes now is the tunnel's
            return
        try:
            data = self._sock.recv(self._missing)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._fail(error)
            return
        if not data:
            self._fail(
                ProtocolError(
                    f"{self._peer} closed the connection during the handshake"
                )
            )
            return
        self._answer += data
        self._missing -= len(data)
        if not self._missing:
            answer, self._answer = self._answer, b""
            self._go_on(answer)

    def _go_on(self, answer: bytes | None) -> None:
        """Take the steps for which enough was read."""
        try:
            while not self._missing:
                if answer is None:
                    ask = next(self._handshake)
                else:
                    ask = self._handshake.send(answer)
                self._send(ask.send)
                self._missing, answer = ask.read, b""
        except StopIteration as end:
            if not self.done.done():
                self.done.set_result(end.value)
        except (ProtocolError, OSError) as error:
            self._fail(error)

    def _send(self, data: bytes) -> None:
        # A few hundred bytes, which the buffer of a new connection always takes.
        if data and self._sock.send(data) < len(data):
            raise OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS))

    def _time_out(self) -> None:
        self._fail(TimeoutError())

    def _fail(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)
