"""One stream of a session: a connection to shadowsocks, and how far it has ended.

A stream joins a local socket with the frames of a PT connection. It keeps flags of its
own beside the session's: the session may be in the next stream already while the local
side has not taken the last bytes of this one (`pt_bridge.relay.base_stream`).
"""

from __future__ import annotations

import errno
import math
from typing import TYPE_CHECKING

from pt_bridge.net.sockets import half_close, read_now, reset
from pt_bridge.protocol.frames import TCP, Cause, data_frame, data_header
from pt_bridge.relay.base_stream import BaseStream
from pt_bridge.relay.pipes import PIPE_SIZE
from pt_bridge.relay.reader import Reader
from pt_bridge.relay.splice import READ_SIZE
from pt_bridge.relay.writer import Writer

if TYPE_CHECKING:
    import asyncio
    import socket

    from pt_bridge.relay.pipes import Pipe, PipePool
    from pt_bridge.session.connection import SessionConnection
    from pt_bridge.session.owners import StreamOwner
    from pt_bridge.session.second_try import SecondTry

# What a client may send before ACCEPT, and so keeps for another try (bytes): no more
# than a server that refuses it throws away.
MAX_KEPT = 64 * 1024
# What is thrown away for a local side that has gone: more costs more than a new PT
# connection (bytes).
MAX_DISCARDED = 64 * 1024
# A stream that has had more than so many bytes of an answer is not left.
MOST_LEFT = 256 * 1024


class Stream(BaseStream["SessionConnection"]):
    """What is carried between one local socket and one PT connection at a time.

    Attributes:
        local: the socket to shadowsocks; None before it is reached, and at the end.
        kept: what was sent before ACCEPT (client); None where nothing is to be kept.
        is_early: whether bytes may be sent before ACCEPT.
        second_try: the same on a second connection, until one is accepted, or None.
    """

    __slots__ = (
        "_discarded",
        "_is_discarding",
        "_local_eof",
        "_loop",
        "_owner",
        "_pipes",
        "_reader",
        "_writer",
        "is_early",
        "kept",
        "local",
        "second_try",
    )

    kind = TCP

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        pipes: PipePool,
        owner: StreamOwner,
        id: bytes,
        *,
        is_client: bool,
        is_early: bool = True,
    ) -> None:
        """Create a stream that touches no socket yet.

        A client's keeps what it sends until ACCEPT; it sends nothing before, unless
        `is_early`. The owner is told of its end.
        """
        super().__init__(loop, id)
        self._loop, self._pipes, self._owner = loop, pipes, owner
        self.local: socket.socket | None = None
        self.kept: bytearray | None = bytearray() if is_client else None
        self.is_early = is_early
        self.second_try: SecondTry | None = None
        self._writer: Writer | None = None
        self._reader: Reader | None = None
        self._is_discarding = self._local_eof = False
        self._discarded = 0

    def take_local(self, sock: socket.socket) -> None:
        """Own a connected, non-blocking socket to shadowsocks from now on."""
        self.local = sock
        self._reader = Reader(self._loop, sock, self._pipes, self)
        self._writer = Writer(self._loop, sock, self._pipes, self)

    def first_frames(self) -> bytes:
        """Return what a client says behind OPEN: what there is, and EOF."""
        assert self.connection is not None
        assert self.local is not None
        assert self.kept is not None
        if self.is_early and not self.kept and not self._local_eof:
            try:
                data = read_now(self.local, READ_SIZE)
            except OSError:  # the kernel says so once: after that it looks like an EOF
                self._drop_local()
                self._is_discarding = self.reset_sent = True
                self.kept = None
                return self.connection.session.reset(Cause.CUT)
            self._local_eof = data == b""
            self.kept += data or b""
            self.outbound += len(self.kept)
        frames = self.kept_frames(self.connection)
        self.eof_sent = self._local_eof
        return frames

    def kept_frames(self, connection: SessionConnection) -> bytes:
        """Return what was sent before ACCEPT, for one more connection."""
        frames = data_frame(bytes(self.kept)) if self.kept else b""
        return frames + connection.session.eof() if self._local_eof else frames

    def on_accepted(self) -> None:
        """Keep nothing any more: the service has the stream, and no other gets it."""
        self.kept = None
        self._drop_rival()
        self.update_reading()

    # Outbound: from the local side to the PT.

    def update_reading(self) -> None:
        """Read the local side whenever what comes may be sent."""
        if self._reader is None:
            return
        connection = self.connection
        self._reader.read(
            wanted=connection is not None
            and not (self._local_eof or self.eof_sent or self.reset_sent)
            and not self._reset_received
            and connection.can_send
            and (self.kept is None or self._may_keep(len(self.kept)))
        )

    def _may_keep(self, size: int) -> bool:  # two connections must say the same
        has_room = size <= MAX_KEPT - READ_SIZE
        return self.is_early and self.second_try is None and has_room

    def most_in_pipe(self) -> int:
        """Return how many bytes of the local side may come in a pipe now."""
        connection = self.connection
        can_send = connection is not None and connection.can_send
        return PIPE_SIZE if can_send and self.kept is None else 0

    def on_bytes(self, data: bytes) -> None:
        """Send what was read of the local side."""
        assert self.connection is not None
        self.outbound += len(data)
        if self.kept is not None:
            self.kept += data
        self.moved_at = self.connection.send(data_frame(data))
        if self.kept is not None:
            self.update_reading()

    def on_pipe(self, pipe: Pipe, count: int) -> None:
        """Send what the local side had for a pipe."""
        assert self.connection is not None
        self.outbound += count
        self.moved_at = self.connection.send_pipe(pipe, count, data_header(count))

    def on_end(self, *, is_reset: bool) -> None:
        """Pass on that the local side has ended; a reset may have lost bytes."""
        if is_reset:
            self._give_local_up(Cause.CUT)
            self.on_drained()
            return
        self._local_eof = True
        self._say_eof()
        self._owner.on_half_closed(self)
        if self._is_discarding:  # it had closed for good; what it sent is said
            self.say_reset(Cause.CUT)
        self.update_reading()
        self._see_whether_it_is_over()

    def _give_local_up(self, cause: Cause) -> None:
        self._drop_local()
        self._is_discarding = True
        self.say_reset(cause)

    def _keep_nothing(self) -> None:
        self.kept = None
        self._drop_rival()
        self.update_reading()

    # Inbound: from the PT to the local side.

    @property
    def is_blocked(self) -> bool:
        """Whether nothing more can be taken for the local side now."""
        if self._writer is None:  # the service has not been reached yet
            was_reset = self.connection and self.connection.session.reset_received
            return not (self._is_discarding or self._is_over or was_reset)
        return self._writer.is_blocked

    @property
    def is_full(self) -> bool:
        """Whether the local side has yet to take what it was given."""
        return self._writer is not None and self._writer.is_blocked

    @property
    def takes_pipes(self) -> bool:
        """Whether bytes may come in a pipe."""
        writer = self._writer
        return writer is not None and not self._is_discarding and not writer.is_blocked

    def deliver_at_once(self, data: bytes) -> bool:
        """Pass bytes on to the local side where nothing is in their way.

        Returns:
            Whether that was done.
        """
        writer = self._writer
        if writer is None or writer.is_blocked or self._is_discarding:
            return False
        self.inbound += len(data)
        writer.send(data)
        return True

    def deliver(self, data: bytes) -> None:
        """Pass bytes on to the local side, or throw them away where it has gone."""
        self.inbound += len(data)
        if not self._is_discarding and self._writer is not None:
            self._writer.send(data)
            return
        self._discarded += len(data)
        if self.reset_sent and self._discarded > MAX_DISCARDED:
            assert self.connection is not None
            self.connection.give_up_backlog()

    def deliver_pipe(self, pipe: Pipe, count: int) -> None:
        """Pass the bytes in a borrowed pipe on to the local side."""
        assert self._writer is not None
        self.inbound += count
        self._writer.send_pipe(pipe, count)

    def on_failed(self, error: OSError) -> None:
        """The local side takes nothing any more."""
        self._is_discarding = True
        if error.errno == errno.EPIPE and not self._local_eof:
            self.update_reading()  # what it sent before it closed is still to be read
        else:
            self._give_local_up(Cause.CUT)
        self.on_drained()

    def on_blocked(self) -> None:
        """Read no more of the PT: the local side is slow."""
        if self.connection is not None:
            self.connection.go_on()

    def on_drained(self) -> None:
        """Go on with what has come from the PT."""
        if self.connection is not None:
            self.connection.go_on()

    def on_eof(self) -> None:
        """Half-close the local side: the peer has said its EOF."""
        self.eof_received = True
        if self.local is not None and not self._is_discarding:
            half_close(self.local)
        self._see_whether_it_is_over()

    def on_reset(self) -> None:
        """End the local side: what came before an EOF stands, anything else is cut."""
        self._reset_received = True
        self.kept = None
        self._drop_rival()
        self._end_local()
        self._is_discarding = True
        self.say_reset(Cause.CUT)
        self._see_whether_it_is_over()

    def refuse(self, cause: Cause, text: bytes = b"") -> None:
        """Say that the service does not take it (server)."""
        self._is_discarding = True
        self.say_reset(cause, text)
        self.on_drained()

    # The end.

    def check_limits(self, now: float) -> float:
        """Reset a stream that was silent for too long; return when to look again.

        Both are on the loop's clock: the time now, and seconds from then.
        """
        is_half_closed = self.eof_sent or self.eof_received
        limit = self._owner.silence_limit(is_half_closed=is_half_closed)
        if limit is None or self.reset_sent:
            return math.inf
        left = self.moved_at + limit - now
        if left > 0:
            return left
        self._give_local_up(Cause.SILENT)
        return math.inf

    def on_connection_lost(self, connection: SessionConnection) -> None:
        """End the stream, or try it again; what is cut never looks complete."""
        self.connection = None
        self.update_reading()
        if self.kept is not None and self.local is not None:
            if self.second_try is None:
                self.eof_sent = False  # it is said again
            if self._owner.on_stream_lost(self, connection):
                return
        self._end_local()
        self._end()

    @property
    def may_be_left(self) -> bool:
        """Whether it has said all, and no bulk is coming back (client).

        What still comes would be in the next stream's way: a frame of which a part has
        come already, and behind a long answer most likely more.
        """
        connection = self.connection
        if connection is None or self.kept is not None or not connection.can_send:
            return False
        is_half_closed = self.eof_sent and not (self.eof_received or self.reset_sent)
        is_bulk = self.inbound > MOST_LEFT or connection.session.data_left > 0
        return is_half_closed and not (
            is_bulk or self.is_full or connection.has_backlog
        )

    def leave(self) -> SessionConnection:
        """End a stream whose local side has closed for good, at once (client).

        What was said stands, and what still comes is thrown away.

        Returns:
            Its connection, which the next stream may be opened on now.
        """
        connection = self.connection
        assert connection is not None
        self.say_reset(Cause.CUT)
        self.connection = None
        connection.leave()
        self.cut()
        return connection

    def cut(self) -> None:
        """Reset the local side at once."""
        self._drop_local()
        self.kept = None
        self._end()

    def _drop_rival(self) -> None:
        """Withdraw the stream from its second connection, if it has one."""
        second_try, self.second_try = self.second_try, None
        if second_try is not None:
            second_try.drop()

    def _end(self) -> None:
        self._drop_rival()
        super()._end()

    def release_local(self) -> socket.socket:
        """Touch the local socket no more, and return it: it goes another way."""
        assert self.local is not None
        for each in (self._reader, self._writer):
            if each is not None:
                each.stop()
        self._reader = self._writer = None
        sock, self.local = self.local, None
        return sock

    def _end_local(self) -> None:
        if self.eof_received and not self._is_discarding and self.local is not None:
            self._owner.drain(self.release_local())
        else:
            self._drop_local()

    def _drop_local(self) -> None:
        if self.local is not None:
            reset(self.release_local())

    def _leave_local(self, *, is_clean: bool) -> None:
        if self.local is not None:
            sock = self.release_local()
            if is_clean and not self._is_discarding:
                sock.close()
            else:
                reset(sock)
        self.kept = None

    def _tell_of_end(self) -> None:
        self._owner.on_stream_ended(self)
