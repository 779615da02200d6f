"""Whom streams and the PT connections beneath them tell what happens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import socket
    from typing import TypeAlias

    from pt_bridge.protocol.frames import Opened, WasReset
    from pt_bridge.session.connection import SessionConnection
    from pt_bridge.session.second_try import SecondTry
    from pt_bridge.session.stream import Stream
    from pt_bridge.udp.stream import DatagramStream

    AnyStream: TypeAlias = Stream | DatagramStream
    Carried: TypeAlias = AnyStream | SecondTry  # what a PT connection has as its stream


class StreamOwner(Protocol):
    """Who is told of a stream's end: a client's `Pool`, a server's `SessionServer`."""

    def on_stream_ended(self, stream: Stream) -> None:
        """Forget a stream whose sockets are not ours any more.

        Only after that may its connection be free (`ConnectionOwner.on_free`).
        """

    def on_half_closed(self, stream: Stream) -> None:
        """Learn that shadowsocks sends nothing more in a stream."""

    def on_stream_lost(self, stream: Stream, connection: SessionConnection) -> bool:
        """Take over a stream whose PT connection ended before ACCEPT, or return False.

        Args:
            stream: it has its local socket, and what was read of it.
            connection: the one that has ended.
        """

    def drain(self, sock: socket.socket) -> None:
        """Close a socket once its peer has read what it was sent."""

    def silence_limit(self, *, is_half_closed: bool) -> float | None:
        """Return how long a stream may be silent (seconds), None for any time."""


class ConnectionOwner(Protocol):
    """Who is told of what happens on a PT connection: the same two.

    What only one side can hear of says so, and does nothing on the other.
    """

    def on_opened(self, connection: SessionConnection, event: Opened) -> None:
        """Carry a stream that the client opened (server)."""

    def on_understood(self, connection: SessionConnection) -> None:
        """Learn that the peer speaks the session: its first frame has come (client)."""

    def on_accepted(self, seconds: float) -> None:
        """Learn how long the server took to accept a stream (client)."""

    def on_refused(self, connection: SessionConnection, event: WasReset) -> bool:
        """Learn that the server did not accept a stream, and why (client).

        Returns:
            Whether the stream goes on, on another connection; this one is closed.
        """

    def on_late(self, connection: SessionConnection) -> None:
        """Learn that a stream should have been accepted by now (client)."""

    def on_free(self, connection: SessionConnection) -> None:
        """Take a connection whose stream is over; it can carry another."""

    def on_closing(self, connection: SessionConnection) -> None:
        """Open no more streams on a connection (client)."""

    def on_broken(self, how: str) -> None:
        """Learn that a connection has ended with a stream open, and why."""

    def on_closed(self, connection: SessionConnection) -> None:
        """Forget a connection that was closed."""
