"""All PT connections of a run that speak the session, and the streams on them.

`Sessions` is what both sides share; the client's is in `pt_bridge.pool.pool`, the
server's in `pt_bridge.session.server`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pt_bridge.relay.draining_close import DrainingClose
from pt_bridge.session.connection import SessionConnection

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Callable

    from pt_bridge.protocol.frames import Opened, WasReset
    from pt_bridge.relay.pipes import PipePool
    from pt_bridge.session.owners import AnyStream
    from pt_bridge.session.stream import Stream


# How long a service, or shadowsocks, may take nothing of what came with its end
# (seconds): as long as a peer may be silent.
TAKING_LIMIT = 300.0


class Limits:
    """How long streams may be silent, in seconds; None for as long as they like.

    Attributes:
        idle: any stream.
        linger: one of which a direction has ended.
    """

    __slots__ = ("idle", "linger")

    def __init__(self, idle: float | None = None, linger: float | None = None) -> None:
        self.idle = idle
        self.linger = linger


class Sessions:
    """The PT connections and the streams of one side.

    Attributes:
        opened: how many streams there have been.
        reused: how many of them began on a connection that had carried one before.
        cuts: how many ended with their connection, before their end.
        streams: those that are open.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        pipes: PipePool,
        limits: Limits,
        on_ended: Callable[[], None],
    ) -> None:
        """Begin without a connection.

        Args:
            loop: the event loop.
            pipes: where pipes are borrowed.
            limits: how long streams may be silent.
            on_ended: called when a stream has ended.
        """
        self._loop = loop
        self._pipes = pipes
        self._limits = limits
        self._on_ended = on_ended
        self._connections: set[SessionConnection] = set()
        self._draining: set[DrainingClose] = set()
        self.streams: set[AnyStream] = set()
        self.opened = self.reused = self.cuts = 0
        self._inbound = self._outbound = 0

    @property
    def moved(self) -> int:
        """How many bytes went through, both directions together."""
        return self.inbound + self.outbound

    @property
    def inbound(self) -> int:
        """How many bytes went from the PT to shadowsocks."""
        return self._inbound + sum(each.inbound for each in self.streams)

    @property
    def outbound(self) -> int:
        """How many bytes went from shadowsocks to the PT."""
        return self._outbound + sum(each.outbound for each in self.streams)

    @property
    def connections(self) -> int:
        """How many PT connections there are, those without a stream included."""
        return len(self._connections)

    @property
    def draining(self) -> int:
        """How many local connections have yet to take what came before their end."""
        return len(self._draining)

    @property
    def idle(self) -> int:
        """How many connections are ready for the next stream (client)."""
        return 0

    def connect(self, plain: socket.socket) -> SessionConnection:
        """Return a connection that was dialled, as one that speaks the session."""
        return self._connect(plain, is_client=True)

    def begin(self, stream: AnyStream) -> None:
        """Have a stream among the others that somebody else carries."""
        self._has_begun(stream)

    def _connect(self, plain: socket.socket, *, is_client: bool) -> SessionConnection:
        connection = SessionConnection(
            self._loop, plain, self._pipes, self, is_client=is_client
        )
        self._connections.add(connection)
        return connection

    def _has_begun(self, stream: AnyStream) -> None:
        self.opened += 1
        self.streams.add(stream)

    def cut(self) -> None:
        """Close everything at once; what is not whole is reset."""
        for stream in list(self.streams):
            stream.cut()
        for connection in list(self._connections):
            connection.close("everything ends")
        for each in list(self._draining):
            each.reset()
        self._draining.clear()

    def retire(self) -> None:
        """Keep connections for as long as they carry something (server)."""

    # What streams and connections tell.

    def forget(self, stream: AnyStream) -> None:
        """Have nothing to do with a stream any more."""
        self.streams.discard(stream)
        self._inbound += stream.inbound
        self._outbound += stream.outbound

    def on_stream_ended(self, stream: AnyStream) -> None:
        """Forget a stream that has ended."""
        self.forget(stream)
        self._on_ended()

    def on_half_closed(self, stream: Stream) -> None:
        """Learn that shadowsocks sends nothing more in a stream."""

    def on_stream_lost(self, stream: Stream, connection: SessionConnection) -> bool:
        """Leave the stream to its end."""
        return False

    def drain(self, sock: socket.socket) -> None:
        """Close a socket once its peer has read what it was sent."""
        forget = self._draining.discard
        draining = DrainingClose(self._loop, sock, forget, patience=TAKING_LIMIT)
        self._draining.add(draining)

    def silence_limit(self, *, is_half_closed: bool) -> float | None:
        """Return how long a stream may be silent (seconds), None for any time."""
        idle, linger = self._limits.idle, self._limits.linger
        if not is_half_closed or linger is None:
            return idle
        return linger if idle is None else min(idle, linger)

    def on_opened(self, connection: SessionConnection, event: Opened) -> None:
        """Carry a stream that the client opened (server)."""
        raise NotImplementedError

    def on_understood(self, connection: SessionConnection) -> None:
        """Learn that the peer speaks the session."""

    def on_accepted(self, seconds: float) -> None:
        """Learn how long the server took to accept a stream (client)."""

    def on_refused(self, connection: SessionConnection, event: WasReset) -> bool:
        """Learn why the server did not accept a stream (client)."""
        return False

    def on_late(self, connection: SessionConnection) -> None:
        """Learn that a stream should have been accepted by now (client)."""

    def on_free(self, connection: SessionConnection) -> None:
        """Take a connection whose stream is over; it can carry another."""
        raise NotImplementedError

    def on_closing(self, connection: SessionConnection) -> None:
        """Open no more streams on a connection (client)."""

    def on_broken(self, how: str) -> None:
        """Learn that a connection ended as none should, with a stream on it."""
        self.cuts += 1

    def on_closed(self, connection: SessionConnection) -> None:
        """Forget a connection that was closed."""
        self._connections.discard(connection)
