"""The connections that are ready for the next stream.

Those that were used come before those that were only made ready: their congestion
windows have grown, and the last one's has had the least time to shrink.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pt_bridge.session.connection import SessionConnection

MAX_IDLE = 32  # connections kept ready


class IdleConnections:
    """Connections without a stream, at most `MAX_IDLE`."""

    def __init__(self) -> None:
        self._ready: list[SessionConnection] = []

    def __len__(self) -> int:
        return len(self._ready)

    def add(self, connection: SessionConnection) -> None:
        """Keep a connection, or close it where there are enough."""
        if len(self._ready) >= MAX_IDLE:
            connection.close_gracefully()
        elif connection.session.number:
            self._ready.append(connection)
        else:
            self._ready.insert(0, connection)

    @property
    def has_used(self) -> bool:
        """Whether the best one was used before."""
        return bool(self._ready) and self._ready[-1].session.number > 0

    def take(self) -> SessionConnection | None:
        """Return the best one for a stream, or None."""
        return self._ready.pop() if self._ready else None

    def remove(self, connection: SessionConnection) -> None:
        """Keep a connection no more, if it is kept."""
        if connection in self._ready:
            self._ready.remove(connection)

    def end(self, why: str, *, gently: bool) -> None:
        """Close all; with `gently`, one may yet say how its last stream ended."""
        ready, self._ready = self._ready, []
        for connection in ready:
            if gently and connection.has_backlog:
                connection.close_gracefully()
            else:
                connection.close(why)
