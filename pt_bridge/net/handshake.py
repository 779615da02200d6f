"""A handshake of `pt_bridge.protocol` on a socket, whichever side of it is ours."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Generic, TypeVar

from pt_bridge.errors import ProtocolError

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Callable, Generator

    from pt_bridge.protocol.handshake import Ask

T = TypeVar("T")


class HandshakeRunner(Generic[T]):
    """Sends and reads what a handshake asks for, driven by the event loop's readers."""

    __slots__ = (
        "_answer",
        "_handshake",
        "_loop",
        "_missing",
        "_on_done",
        "_peer",
        "_sock",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        handshake: Generator[Ask, bytes, T],
        on_done: Callable[[T | Exception], None],
        *,
        peer: str = "the PT",
    ) -> None:
        """Begin.

        Args:
            loop: the event loop.
            sock: a connected, non-blocking socket, which stays the caller's.
            handshake: what to say and to hear.
            on_done: gets what the handshake returns, or the error that ended it:
                ProtocolError, or OSError where the connection failed, or a bug. Called
                once, from the loop, unless `stop` is called before.
            peer: who is on the other side, for the error where it closes.
        """
        self._loop = loop
        self._sock = sock
        self._handshake = handshake
        self._on_done: Callable[[T | Exception], None] | None = on_done
        self._peer = peer
        self._answer = b""
        self._missing = 0
        loop.add_reader(sock.fileno(), self._read)
        self._go_on(None, lambda got: loop.call_soon(self._end, got))

    def stop(self) -> None:
        """Leave the socket alone; to be called before it is closed, or at any time."""
        self._leave()

    def _read(self) -> None:
        """Read, and answer, until the peer has to say something."""
        while True:
            try:
                data = self._sock.recv(self._missing)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                self._end(error)
                return
            if not data:
                text = f"{self._peer} closed the connection during the handshake"
                self._end(ProtocolError(text))
                return
            answer = self._answer + data
            self._missing -= len(data)
            if self._missing:
                self._answer = answer
                return
            self._answer = b""
            if not self._go_on(answer, self._end):
                return

    def _go_on(
        self, answer: bytes | None, end: Callable[[T | Exception], object]
    ) -> bool:
        """Take the steps for which enough was read.

        Returns:
            Whether more may be there already, for nothing was said.
        """
        try:
            while True:
                if answer is None:
                    ask = next(self._handshake)
                else:
                    ask = self._handshake.send(answer)
                if ask.send:
                    self._send(ask.send)
                if ask.read:
                    self._missing = ask.read
                    return not ask.send
                answer = b""
        except StopIteration as through:
            end(through.value)
        except Exception as error:
            end(error)
        return False

    def _send(self, data: bytes) -> None:
        # A few hundred bytes, which the buffer of a new connection always takes.
        if self._sock.send(data) < len(data):
            raise OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS))

    def _end(self, got: T | Exception) -> None:
        on_done = self._leave()
        if on_done is not None:
            on_done(got)

    def _leave(self) -> Callable[[T | Exception], None] | None:
        """Stop; return whom to call back, unless it was called, or not to be."""
        on_done, self._on_done = self._on_done, None
        if on_done is not None:
            self._loop.remove_reader(self._sock.fileno())
        return on_done
