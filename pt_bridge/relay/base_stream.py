"""What all streams of a session have in common, whatever they carry: how they end.

A stream keeps flags of its own beside the session's, for the session may be in the next
stream already. It is over once both sides have said EOF, or both have said RESET.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    import asyncio

    from pt_bridge.protocol.frames import Cause
    from pt_bridge.protocol.session import Session


class BaseConnection(Protocol):
    """The PT connection beneath, as far as a stream's end needs it."""

    session: Session

    def send(self, frames: bytes) -> float:
        """Send whole frames."""

    def on_stream_over(self) -> None:
        """Become free for the next stream."""


C = TypeVar("C", bound=BaseConnection)


class BaseStream(Generic[C]):
    """A stream on one PT connection at a time; a subclass for what is carried.

    Attributes:
        id: 8 bytes; a second try on another PT connection has the same.
        connection: the PT connection that carries it, or None.
        outbound, inbound: how many bytes have come from, and gone to, the local side.
        moved_at: when something last moved, on the loop's clock.
        eof_sent, eof_received: whether a side has said its EOF, behind all its bytes.
        reset_sent: whether we have said that it is dead.
        attempts: how many PT connections that were made for it have failed it.
    """

    __slots__ = (
        "_is_over",
        "_number",
        "_reset_received",
        "attempts",
        "connection",
        "eof_received",
        "eof_sent",
        "id",
        "inbound",
        "moved_at",
        "outbound",
        "reset_sent",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, id: bytes) -> None:
        """Create a stream that is on no PT connection yet."""
        self.id = id
        self.connection: C | None = None
        self._number = 0
        self._is_over = self._reset_received = False
        self.eof_sent = self.eof_received = self.reset_sent = False
        self.outbound = self.inbound = self.attempts = 0
        self.moved_at = loop.time()

    def join(self, connection: C, number: int) -> None:
        """Belong to a PT connection, as its stream of that number."""
        self.connection, self._number = connection, number

    def _say_eof(self) -> None:
        """Say that nothing more comes, unless that was said or cannot be."""
        if self.eof_sent or not self._may_speak():
            return
        assert self.connection is not None
        self.eof_sent = True
        self.connection.send(self.connection.session.eof())

    def say_reset(self, cause: Cause, text: bytes = b"") -> None:
        """Say that the stream is dead, behind all that was sent before."""
        if self.reset_sent:
            return
        may_speak = self._may_speak()
        self.reset_sent = True
        self._keep_nothing()
        if may_speak:
            assert self.connection is not None
            self.connection.send(self.connection.session.reset(cause, text))
        self._see_whether_it_is_over()

    def _may_speak(self) -> bool:
        """Whether the session is still in this stream, and lets us say something."""
        if self.connection is None or self.reset_sent:
            return False
        session = self.connection.session
        return session.is_open and session.number == self._number

    def _end(self) -> None:
        """Tell of the end, once: it may be cut before its connection is."""
        if not self._is_over:
            self._is_over = True
            self._tell_of_end()

    def _see_whether_it_is_over(self) -> None:
        """Tell of the end, and free the PT connection, where both sides have ended."""
        is_clean = self.eof_sent and self.eof_received
        is_dead = self.reset_sent and self._reset_received
        if self._is_over or not (is_clean or is_dead):
            return
        self._is_over = True
        self._leave_local(is_clean=is_clean)
        connection, self.connection = self.connection, None
        self._tell_of_end()  # before its connection is free for others
        if connection is not None:
            connection.on_stream_over()

    # What a subclass does.

    def _keep_nothing(self) -> None:
        """Have nothing for another try any more: there is none."""
        raise NotImplementedError

    def _leave_local(self, *, is_clean: bool) -> None:
        """Have done with the local side: both sides have said their EOF, or RESET."""
        raise NotImplementedError

    def _tell_of_end(self) -> None:
        """Tell the owner that the stream is over."""
        raise NotImplementedError
