"""The streams whose shadowsocks sends nothing more: it may have closed for good.

Then nobody reads what is still to come, and the stream can be left: its connection is
free a round trip before the server has said its end. TCP does not tell such a stream
from one that is half-closed, whose answer is waited for, but the kernel does.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from pt_bridge.system.log import logger

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from pt_bridge.session.connection import SessionConnection
    from pt_bridge.session.stream import Stream

# How many streams the kernel is asked about for one connection.
MAX_ASKED = 4
# A stream in which something has moved within so many seconds is not left yet: on a
# narrow path more may be on its way, and the next one would have to wait behind it.
QUIET = 0.015


class HalfClosed:
    """Streams that have said all, in the order in which they did."""

    def __init__(
        self, local_has_closed: Callable[[socket.socket], bool | None]
    ) -> None:
        """Begin without a stream.

        Args:
            local_has_closed: tells of a local connection, whose end has come, whether
                its other end is gone for good; None where that cannot be told.
        """
        self._local_has_closed = local_has_closed
        self._streams: dict[Stream, float] = {}

    def add(self, stream: Stream, now: float) -> None:
        """Know a stream that has said all by now, in seconds of a steady clock."""
        self._streams[stream] = now

    def clear(self) -> None:
        """Forget all of them: the path that they are on may be dead."""
        self._streams.clear()

    def discard(self, stream: Stream) -> None:
        """Forget a stream, if it is known."""
        self._streams.pop(stream, None)

    def take_connection(
        self, now: float, patience: float
    ) -> SessionConnection | float | None:
        """Leave the stream that ended last, if one can be.

        Args:
            now: the time, in seconds of the clock of `add`.
            patience: who ended more than so many seconds ago waits for so long that its
                path may be dead.

        Returns:
            Its connection; or how many seconds to wait, as one may be left then; or
            None where there is none.
        """
        soon: float | None = None
        for stream in list(islice(reversed(self._streams), MAX_ASKED)):
            if now - self._streams[stream] > patience:
                break
            local = stream.local
            if local is None or not stream.may_be_left:
                continue
            wait = stream.moved_at + QUIET - now
            if self._local_has_closed(local):
                if wait <= 0:
                    logger.debug("~ a stream is left: its host has closed for good")
                    return stream.leave()
                soon = wait if soon is None else min(soon, wait)
        return soon
