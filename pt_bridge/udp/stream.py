"""The one stream of a session that carries all of a client's datagrams.

A datagram that cannot be sent at once is dropped, as UDP allows: nothing waits here but
a client's first ones, until the server has accepted the stream.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

from pt_bridge.protocol.frames import DATAGRAMS, Cause, datagram_frame
from pt_bridge.relay.base_stream import BaseConnection, BaseStream

if TYPE_CHECKING:
    import asyncio
    import socket

    from pt_bridge.protocol.frames import Datagram

# What a client may send before ACCEPT, and so keeps for another try (bytes).
MAX_KEPT = 64 * 1024
# How much the PT may have yet to take while datagrams are sent (bytes).
MAX_UNTAKEN = 64 * 1024


class Connection(BaseConnection, Protocol):
    """The PT connection beneath (`pt_bridge.session.connection`)."""

    @property
    def takes_datagrams(self) -> bool:
        """Whether one more may be sent: the path is not full."""


class DatagramStreamOwner(Protocol):
    """Who gets the datagrams, and is told of the end."""

    def on_datagram(self, stream: DatagramStream, datagram: Datagram) -> None:
        """Take a datagram that has come from the peer."""

    def on_stream_ended(self, stream: DatagramStream) -> None:
        """Forget a stream that is over, or whose PT connection has ended."""

    def on_stream_lost(self, stream: DatagramStream, connection: Any) -> bool:
        """Try a stream again whose PT connection ended before ACCEPT, or return False.

        Args:
            stream: it has the datagrams that were sent.
            connection: the one that has ended.
        """


class DatagramStream(BaseStream[Connection]):
    """What is carried on one PT connection at a time.

    A PT connection deals with it as with a stream of bytes
    (`pt_bridge.session.stream.Stream`); what only that can do says so.

    Attributes:
        local: a client's socket to shadowsocks, which stays its owner's; else None.
        kept: the frames that were sent before ACCEPT (client), or None.
        was_accepted: whether the server has accepted it (client).
        dropped: how many datagrams were, for the path was full.
    """

    __slots__ = (
        "_kept_size",
        "_owner",
        "dropped",
        "kept",
        "local",
        "was_accepted",
    )

    # A PT connection asks: nothing ever waits for the local side to take it.
    kind = DATAGRAMS
    is_blocked = is_full = takes_pipes = False

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        owner: DatagramStreamOwner,
        id: bytes,
        *,
        local: socket.socket | None = None,
    ) -> None:
        """Create a stream that is on no PT connection yet.

        Args:
            loop: the event loop.
            owner: gets the datagrams.
            id: its 8 bytes.
            local: a client's socket; what is sent is then kept until ACCEPT.
        """
        super().__init__(loop, id)
        self._owner = owner
        self.local = local
        self.kept: list[bytes] | None = None if local is None else []
        self.was_accepted = False
        self._kept_size = self.dropped = 0

    # The beginning, as a PT connection has it.

    def first_frames(self) -> bytes:
        """Return what a client says behind OPEN."""
        assert self.kept is not None
        return b"".join(self.kept)

    def on_accepted(self) -> None:
        """Keep nothing any more: the server has the stream."""
        self.kept, self.was_accepted = None, True

    def update_reading(self) -> None:
        """Do nothing: the local side is read in any case, or datagrams grow old."""

    # Datagrams.

    def send(self, datagram: Datagram) -> None:
        """Send a datagram, or drop it where the path is full."""
        connection = self.connection
        is_full = connection is not None and not connection.takes_datagrams
        if is_full or self.eof_sent or self.reset_sent:
            self.dropped += 1
            return
        frame = datagram_frame(datagram)
        if self.kept is not None and not self._keep(self.kept, frame):
            self.dropped += 1
            return
        if connection is not None:
            connection.send(frame)
        self.outbound += len(frame)

    def _keep(self, kept: list[bytes], frame: bytes) -> bool:
        """Keep a frame for another try; return whether it may be sent.

        While there is no PT connection the newest are worth most.
        """
        if self.connection is None:
            while kept and self._kept_size + len(frame) > MAX_KEPT:
                self._kept_size -= len(kept.pop(0))
                self.dropped += 1
        elif self._kept_size + len(frame) > MAX_KEPT:
            return False
        kept.append(frame)
        self._kept_size += len(frame)
        return True

    def deliver_datagram(self, datagram: Datagram) -> None:
        """Pass on a datagram that has come, unless the stream is dead."""
        self.inbound += len(datagram.data)
        if not self.reset_sent:
            self._owner.on_datagram(self, datagram)

    # The end.

    def end(self) -> None:
        """Send EOF: nothing more comes. The peer sends it, too, and the stream is over.

        One that is on no PT connection ends at once.
        """
        if self.connection is None:
            self._end()
        else:
            self._say_eof()
            self._see_whether_it_is_over()

    def refuse(self, cause: Cause, text: bytes = b"") -> None:
        """Send RESET: the server does not take it (server)."""
        self.say_reset(cause, text)

    def on_eof(self) -> None:
        """Send EOF as well: the peer sends nothing more, and wants no answers."""
        self.eof_received = True
        self.end()
        self._see_whether_it_is_over()

    def on_reset(self) -> None:
        """Answer RESET."""
        self._reset_received = True
        self.say_reset(Cause.CUT)
        self._see_whether_it_is_over()

    def check_limits(self, now: float) -> float:
        """Return when to look again: never, for its owner watches over it."""
        return math.inf

    def on_connection_lost(self, connection: Any) -> None:
        """End, or try again on another PT connection."""
        self.connection = None
        may_go_on = self.kept is not None and not self.eof_sent
        if may_go_on and self._owner.on_stream_lost(self, connection):
            return
        self._end()

    def cut(self) -> None:
        """End at once; the PT connection is closed by whoever cuts."""
        self.kept = None
        self._end()

    def _keep_nothing(self) -> None:
        self.kept = None

    def _leave_local(self, *, is_clean: bool) -> None:
        self.kept = None

    def _tell_of_end(self) -> None:
        self._owner.on_stream_ended(self)
