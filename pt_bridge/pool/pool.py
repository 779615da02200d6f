"""The client's PT connections: ready ones are used again, and lost streams tried again.

A connection whose stream is over carries the next one, one at a time. A stream for
which none is ready has one made (`pt_bridge.pool.tries`), and takes another that is
free before. One whose connection ends before the server accepted it is tried on another
one with the bytes that were kept, under the same id, so that no service gets it twice.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pt_bridge.net.sock_diag import cannot_tell
from pt_bridge.net.sockets import reset
from pt_bridge.pool.accept_times import AcceptTimes
from pt_bridge.pool.detection import Detection, Found
from pt_bridge.pool.half_closed import HalfClosed
from pt_bridge.pool.idle_connections import IdleConnections
from pt_bridge.pool.preconnect import Preconnect
from pt_bridge.pool.spares import Spares
from pt_bridge.pool.tries import MAX_ATTEMPTS, Tries
from pt_bridge.protocol.frames import ID_SIZE, Cause
from pt_bridge.session.second_try import SecondTry
from pt_bridge.session.sessions import Sessions
from pt_bridge.session.silence import UNANSWERED_LIMIT
from pt_bridge.session.stream import Stream

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Callable, Hashable

    from pt_bridge.pool.detection import CarryPlain
    from pt_bridge.pool.spares import Dial
    from pt_bridge.protocol.frames import WasReset
    from pt_bridge.relay.pipes import PipePool
    from pt_bridge.session.connection import SessionConnection
    from pt_bridge.session.owners import AnyStream
    from pt_bridge.session.sessions import Limits

# A stream is left for its connection only where that saves so many seconds. (On one
# connection, streams beyond a hundred in a second wait at the server.)
WORTHWHILE = 0.02
DEAD = "one that was idle as well was dead"


class Pool(Sessions):
    """Carries local connections as streams of a session.

    Attributes:
        tried_again: how often a stream was tried on another connection.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        pipes: PipePool,
        limits: Limits,
        on_ended: Callable[[], None],
        *,
        dial: Dial,
        patience: float,
        on_refused: Callable[[WasReset], None],
        on_unaccepted: Callable[[], None],
        on_late: Callable[[object], None] = lambda way: None,
        pt_is_ending: Callable[[], bool],
        carry_plain: CarryPlain | None = None,
        server_of: Callable[[object], Hashable] = lambda way: None,
        preconnect: Preconnect | None = None,
        is_early: bool = True,
        local_has_closed: Callable[[socket.socket], bool | None] = cannot_tell,
    ) -> None:
        """Begin without a connection, and without a PT.

        Args:
            loop: the event loop.
            pipes: where pipes are borrowed.
            limits: how long streams may be silent.
            on_ended: called when a stream has ended.
            dial: begins to dial the server through the PT for a local socket, and calls
                back in any case.
            patience: how long a stream may wait for the next PT (seconds).
            on_refused: told why the server did not accept a stream.
            on_unaccepted: called when a stream is given up, for no connection that the
                server let in has lived until it was accepted.
            on_late: told by which way a stream was not accepted in time.
            pt_is_ending: tells whether the PT has begun to exit.
            carry_plain: carries a connection without a session, where the server turns
                out to speak none (`Detection`); None where it is known to speak one.
            server_of: see `Detection`.
            preconnect: how many connections are made before streams ask for them.
            is_early: whether a stream's bytes are sent before ACCEPT. Not where another
                server may be tried, which cannot know what the first has heard.
            local_has_closed: see `HalfClosed`.
        """
        super().__init__(loop, pipes, limits, on_ended)
        self._tell_refusal, self._tell_unaccepted = on_refused, on_unaccepted
        self._tell_late = on_late
        self._pt_is_ending = pt_is_ending
        self._detection = None
        if carry_plain is not None:
            how = self.place, self._give_away, server_of
            self._detection = Detection(loop, carry_plain, *how)
        self._idle = IdleConnections()
        self._half_closed = HalfClosed(local_has_closed)
        self._is_early = is_early
        self._accept_times = AcceptTimes()
        self._spares = Spares(
            *(loop, preconnect or Preconnect(fixed=0)),
            count=self._count,
            dial=dial,
            keep=self.keep_spare,
        )
        self._tries = Tries(
            loop, self, dial, patience=patience, pt_is_ending=pt_is_ending
        )
        self.tried_again = 0

    def carry(self, local: socket.socket) -> None:
        """Carry a connection of shadowsocks's, which is ours now."""
        id, early = os.urandom(ID_SIZE), self._is_early
        stream = Stream(
            self._loop, self._pipes, self, id, is_client=True, is_early=early
        )
        stream.take_local(local)
        self._has_begun(stream)
        (self._detection.begin if self._detection else self.place)(stream)
        self._spares.on_began(len(self.streams))

    def open(self) -> None:
        """Dial from now on: there is a PT, and who waited for it goes first."""
        self._tries.open()

    def suspend(self) -> None:
        """Dial no more: the PT has gone. What is whole already still ends well."""
        self._tries.is_open = False
        self._spares.stop()
        self._drop_idle("the PT has gone")

    def cut(self) -> None:
        """Close everything at once; what is not whole is reset."""
        self._tries.stop()
        self._spares.stop()
        if self._detection is not None:
            self._detection.stop()
        super().cut()

    @property
    def is_open(self) -> bool:
        """Whether there is a PT to dial through."""
        return self._tries.is_open

    @property
    def number_waiting(self) -> int:
        """How many streams wait for a connection."""
        return self._tries.number_waiting

    @property
    def idle(self) -> int:
        """How many connections are ready for the next stream."""
        return len(self._idle)

    def take_idle(self) -> SessionConnection | None:
        """Return a connection that is ready, for the next stream, or None."""
        connection = self._idle.take()
        self.reused += connection is not None and connection.session.number > 0
        return connection

    def place(
        self, stream: Stream, *, fresh: bool = False, may_wait: bool = True
    ) -> None:
        """Carry a stream on a connection that is ready, or soon is, or have one made.

        Args:
            stream: it has no connection.
            fresh: whether only one that is made for it will do.
            may_wait: whether it may wait for one, for `QUIET` seconds at most.
        """
        if fresh:
            self._tries.begin(stream)
            return
        got = self._take_used()
        if not isinstance(got, float):
            connection = got or self.take_idle()
        elif may_wait:
            self._tries.wait(stream, got)
            return
        else:
            connection = self.take_idle()
        if connection is not None:
            self._open(connection, stream)
        else:
            self._tries.begin(stream)

    def _take_used(self) -> SessionConnection | float | None:
        """Return a connection whose stream can be left, or how long to wait for one."""
        usual = self._accept_times.usual or 0.0
        if usual < WORTHWHILE or self._idle.has_used or not self.is_open:
            return None
        patience = self._accept_times.late_after(usual)
        got = self._half_closed.take_connection(self._loop.time(), patience)
        self.reused += got is not None and not isinstance(got, float)
        return got

    def use(
        self, stream: Stream, got: socket.socket, way: object, seconds: float
    ) -> None:
        """Carry a stream on a connection that was made for it in so many seconds.

        It is a second one where the stream has one already.
        """
        if self._detection and not self._detection.takes(stream, got, way):
            return
        connection = self._connect(got, is_client=True)
        connection.way = way
        if stream.connection is None:
            self._open(connection, stream, seconds)
        else:
            connection.open(SecondTry(stream))

    def _open(
        self, connection: SessionConnection, stream: Stream, handshake: float = 0.0
    ) -> None:
        """Open a stream on a connection whose handshake took so many seconds."""
        limit, late = UNANSWERED_LIMIT, self._accept_times.late_after(handshake)
        if self._detection and self._detection.found(connection.way) is Found.NOTHING:
            # It finds that out on one connection after the other.
            limit = late = self._detection.accept_limit(handshake)
        connection.open(stream, limit, late)

    # What tries ask for, and what is made ready.

    def _count(self) -> tuple[int, int] | None:
        """Return how many streams are open, and how many connections are ready."""
        if not self.is_open or (self._detection and not self._detection.has_session):
            return None
        return len(self.streams), len(self._idle)

    def keep_spare(self, got: socket.socket, way: object) -> None:
        """Have a connection ready for the next stream."""
        has_session = not self._detection or self._detection.found(way) is Found.SESSION
        if not (self.is_open and has_session):
            reset(got)
            return
        connection = self._connect(got, is_client=True)
        connection.way = way
        connection.get_ready()
        if not connection.is_closed:
            self.on_free(connection)

    @property
    def may_redial(self) -> bool:
        """Whether a server that could not be reached may be dialled again."""
        return self._detection is None or not self._detection.knows_nothing

    def give_up(self, stream: Stream) -> None:
        """End a stream for which there is no connection."""
        if self._detection is not None:
            self._detection.on_unreachable(stream)
        stream.cut()

    def _drop_idle(self, why: str) -> None:
        self._half_closed.clear()
        # What the PT has yet to take of its last stream must not be lost.
        self._idle.end(why, gently=self.is_open)

    def _give_away(self, stream: Stream) -> None:
        """Leave a stream to a plain tunnel, which counts its bytes."""
        self._tries.forget(stream)
        self._half_closed.discard(stream)
        self.streams.discard(stream)

    # What streams and connections tell.

    def forget(self, stream: AnyStream) -> None:
        """Have nothing to do with a stream any more."""
        if isinstance(stream, Stream):
            self._tries.forget(stream)
            self._half_closed.discard(stream)
        super().forget(stream)

    def on_stream_ended(self, stream: AnyStream) -> None:
        """Forget a stream that has ended."""
        super().on_stream_ended(stream)
        if self._detection is not None and isinstance(stream, Stream):
            self._detection.on_ended(stream)

    def on_half_closed(self, stream: Stream) -> None:
        """Know a stream whose connection may be had soon."""
        self._half_closed.add(stream, self._loop.time())

    def on_stream_lost(self, stream: Stream, connection: SessionConnection) -> bool:
        """Try a stream again that no server has accepted yet."""
        if stream not in self.streams:
            return False
        if stream.second_try is not None:
            self.cuts -= 1  # it is no end of it
            stream.second_try.take_over()
            return True
        if not connection.is_fresh:
            # The others have been idle as long, and over the same wire.
            self._drop_idle(DEAD)
        else:
            stream.attempts += 1
        detection = self._detection
        is_told = detection is not None and detection.is_told_by(stream, connection)
        if detection is not None and is_told and not self._pt_is_ending():
            self.cuts -= 1  # it is no end of it
            detection.on_lost(stream, connection.way)
            return True
        if stream.attempts >= MAX_ATTEMPTS:
            self._tell_unaccepted()
            return False
        self.cuts -= 1  # it is no end of it
        self._tries.again(stream)
        return True

    def on_understood(self, connection: SessionConnection) -> None:
        """Know that this server speaks the session."""
        if self._detection is not None:
            self._detection.on_session(connection.way)

    def on_late(self, connection: SessionConnection) -> None:
        """Open a stream that should have been accepted on a second connection, too."""
        stream = connection.stream
        if isinstance(stream, Stream):
            self._drop_idle(DEAD)
            self._tell_late(connection.way)
            self._tries.beside(stream)

    def on_accepted(self, seconds: float) -> None:
        """Know how long that usually takes."""
        self._accept_times.took(seconds)

    def on_refused(self, connection: SessionConnection, event: WasReset) -> bool:
        """Tell why the server did not accept a stream, unless the other try goes on."""
        stream = connection.stream
        if isinstance(stream, SecondTry):  # its first connection is waited for
            return False
        second_try = stream.second_try if isinstance(stream, Stream) else None
        if second_try is not None and event.cause is Cause.SEEN:
            second_try.take_over()
            return True
        self._tell_refusal(event)
        return False

    def on_free(self, connection: SessionConnection) -> None:
        """Carry a stream that waits for a connection, or be ready for the next one."""
        if not self.is_open:
            connection.close_gracefully()
            return
        stream = self._tries.first_without_connection()
        if stream is None:
            self._idle.add(connection)
        else:
            self.reused += connection.session.number > 0
            self._open(connection, stream)

    def on_closing(self, connection: SessionConnection) -> None:
        """Open no more streams on a connection."""
        self._idle.remove(connection)

    def on_closed(self, connection: SessionConnection) -> None:
        """Forget a connection that was closed."""
        self.on_closing(connection)
        super().on_closed(connection)
