"""A second try: the stream waits for ACCEPT on two connections at once.

The server may be busy, or the first connection dead; nobody can tell. So the same
stream, with the same id and the bytes that were kept, is opened once more. The
connection that has ACCEPT first keeps it; on the other one it is withdrawn. A server
accepts an id once, so the service never hears it twice.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pt_bridge.protocol.frames import TCP, Cause

if TYPE_CHECKING:
    from pt_bridge.session.connection import SessionConnection
    from pt_bridge.session.stream import Stream

WITHDRAWN = "the stream was accepted on another connection"


class SecondTry:
    """What stands in the stream's place on the second connection.

    Before ACCEPT, a server says nothing but ACCEPT or RESET, so that much less can
    happen to it than to a stream.

    Attributes:
        stream: the one that it stands for.
        id: its id.
        moved_at: when anything came, on the loop's clock.
    """

    __slots__ = ("_connection", "_number", "id", "moved_at", "stream")

    # Nothing is delivered to it, nor is it ever reset by us: it is dropped.
    kind = TCP
    is_blocked = is_full = takes_pipes = reset_sent = False

    def __init__(self, stream: Stream) -> None:
        """Stand for a stream that is open on another connection."""
        self.stream = stream
        self.id = stream.id
        self.moved_at = stream.moved_at
        self._connection: SessionConnection | None = None
        self._number = 0
        stream.second_try = self
        stream.update_reading()

    def join(self, connection: SessionConnection, number: int) -> None:
        """Belong to a PT connection, as its stream of that number."""
        self._connection, self._number = connection, number

    def first_frames(self) -> bytes:
        """Return what the stream has sent on its first connection."""
        assert self._connection is not None
        return self.stream.kept_frames(self._connection)

    def update_reading(self) -> None:
        """Read nothing: what is kept is all, until one connection has ACCEPT."""

    def check_limits(self, now: float) -> float:
        """Return when to look again (seconds): the stream itself looks."""
        return math.inf

    def on_accepted(self) -> None:
        """Carry the stream from now on, in its first connection's place."""
        self.take_over()
        self.stream.on_accepted()

    def take_over(self) -> None:
        """Let the stream go on here alone."""
        stream, connection = self.stream, self._connection
        assert connection is not None
        first, stream.second_try = stream.connection, None
        connection.stream = stream
        stream.join(connection, self._number)
        stream.update_reading()
        if first is not None:
            first.withdraw(WITHDRAWN)

    def on_reset(self) -> None:
        """Leave the stream to its first connection: the server does not want it."""
        self.stream.second_try = None
        self.stream.update_reading()
        connection = self._connection
        assert connection is not None
        connection.send(connection.session.reset(Cause.CUT))
        connection.on_stream_over()

    def on_connection_lost(self, connection: SessionConnection) -> None:
        """Leave the stream to its first connection: this one has ended."""
        self.stream.second_try = None
        self.stream.update_reading()

    def drop(self) -> None:
        """Withdraw the stream from here: it is over, or accepted elsewhere."""
        connection = self._connection
        if connection is not None:
            connection.withdraw(WITHDRAWN)
