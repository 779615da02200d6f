"""The sending half of a socket: what it does not take at once is kept, and follows.

What is kept is one chunk: the rest of a message, or a pipe full of bulk with the header
before it. What is said meanwhile is a few bytes, for whoever has more looks at
`is_blocked` first.
"""

from __future__ import annotations

from socket import MSG_MORE
from typing import TYPE_CHECKING, Protocol

from pt_bridge.relay.splice import REFUSED, empty_into

if TYPE_CHECKING:
    import asyncio
    import socket

    from pt_bridge.relay.pipes import Pipe, PipePool


class WriterOwner(Protocol):
    """Who is told what becomes of what it sends."""

    def on_blocked(self) -> None:
        """Learn that something waits for the peer to take it: send no more for now."""

    def on_drained(self) -> None:
        """Learn that the peer has taken all that had waited."""

    def on_failed(self, error: OSError) -> None:
        """Learn that it takes nothing any more; nothing is written then."""


class Writer:
    """Writes to one socket, which stays its owner's.

    Attributes:
        is_blocked: whether something waits for the peer to take it.
    """

    __slots__ = (
        "_copied",
        "_held",
        "_loop",
        "_owner",
        "_pipe",
        "_pipes",
        "_queued",
        "_rest",
        "_sock",
        "is_blocked",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        pipes: PipePool,
        owner: WriterOwner,
    ) -> None:
        """Prepare to write.

        Args:
            loop: the event loop.
            sock: a connected, non-blocking socket.
            pipes: where pipes that were handed over are given back.
            owner: told what becomes of it; it costs less than two bound methods.
        """
        self._loop = loop
        self._sock = sock
        self._pipes = pipes
        self._owner: WriterOwner | None = owner
        self._rest: memoryview | None = None
        self._pipe: Pipe | None = None
        self._held = self._copied = 0
        self._queued = b""
        self.is_blocked = False

    def send(self, data: bytes) -> None:
        """Send bytes, or keep them until the peer takes them."""
        if self.is_blocked:
            self._queued += data
            return
        try:
            sent = self._sock.send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError as error:
            self._fail(error)
            return
        if sent < len(data):
            self._rest = memoryview(data)[sent:]
            self._block()

    def send_pipe(self, pipe: Pipe, count: int, header: bytes = b"") -> None:
        """Send the bytes in a borrowed pipe, which is given back in any case.

        Args:
            pipe: it holds exactly these bytes.
            count: how many.
            header: goes before them.
        """
        assert not self.is_blocked  # the owner has looked
        self._pipe, self._held = pipe, count
        if header:
            try:
                sent = self._sock.send(header, MSG_MORE)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError as error:
                self._fail(error)
                return
            if sent < len(header):
                self._rest = memoryview(header)[sent:]
        self._go_on()

    def stop(self) -> None:
        """Touch the socket no more, and forget the owner; safe to call again.

        What was not sent is lost.
        """
        self._stop()
        self._owner = None

    def _stop(self) -> None:
        if self.is_blocked:
            self.is_blocked = False
            self._loop.remove_writer(self._sock.fileno())
        self._rest, self._queued = None, b""
        if self._pipe is not None:
            self._pipes.discard(self._pipe)
            self._pipe, self._held = None, 0
        self._forget()

    def _block(self) -> None:
        self.is_blocked = True
        self._loop.add_writer(self._sock.fileno(), self._go_on)
        if self._owner is not None:
            self._owner.on_blocked()

    def _go_on(self) -> None:
        try:
            done = self._flush()
        except OSError as error:
            self._fail(error)
            return
        if not done:
            if not self.is_blocked:
                self._block()
            if self._pipe is not None:
                self._pipes.note_stalled(self._pipe, self._give_pipe_up)
        elif self.is_blocked:
            self.is_blocked = False
            self._loop.remove_writer(self._sock.fileno())
            if self._owner is not None:
                self._owner.on_drained()

    def _flush(self) -> bool:
        """Send what is in hand; return whether all of it is gone."""
        while True:
            if self._rest is not None:
                try:
                    sent = self._sock.send(self._rest)
                except (BlockingIOError, InterruptedError):
                    return False
                if sent < len(self._rest):
                    self._rest = self._rest[sent:]
                    return False
                self._rest = None
                self._forget()
            if self._pipe is not None and not self._empty_pipe(self._pipe):
                return False
            if self._rest is None:
                if not self._queued:
                    return True
                self._rest, self._queued = memoryview(self._queued), b""

    def _empty_pipe(self, pipe: Pipe) -> bool:
        """Move what the pipe holds; return whether it could be given back."""
        try:
            self._held -= empty_into(pipe, self._sock, self._held)
        except OSError as error:
            if error.errno not in REFUSED:
                raise
            self._rest = memoryview(self._pipes.copy_out(pipe, self._held))
            self._pipe, self._held = None, 0
            return True
        if self._held:
            return False
        self._pipes.give_back(pipe)
        self._pipe = None
        return True

    def _give_pipe_up(self) -> None:
        """Keep in memory what the peer does not take: others need the pipe."""
        assert self._pipe is not None  # that is why we are asked
        first = b"" if self._rest is None else bytes(self._rest)  # of a header
        self._rest = memoryview(first + self._pipes.take_out(self._pipe, self._held))
        self._pipe, self._held, self._copied = None, 0, self._held

    def _forget(self) -> None:
        self._pipes.forget(self._copied)
        self._copied = 0

    def _fail(self, error: OSError) -> None:
        self._stop()
        if self._owner is not None:
            self._owner.on_failed(error)
