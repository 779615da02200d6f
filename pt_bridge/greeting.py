"""What comes for a PT client until it is through with its handshake: last byte apart.

obfs4's clients (obfs4proxy 0.0.14, lyrebird 0.8.1) do not look at what they have read
together with the end of the server's handshake until they have read once more. Where
the server speaks first and the host waits, that may be never: nobody hears what it
said, and the EOF is taken to come after it. So the last byte of all that has come waits
until the PT has read everything before it. Whether it then ends the handshake or comes
after it, the PT has nothing left that it does not look at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pt_bridge.connection import waiting
from pt_bridge.pump import CopyPump
from pt_bridge.sock_diag import TcpSocket

if TYPE_CHECKING:
    import asyncio
    import socket

    from pt_bridge.pump import Ended
    from pt_bridge.sock_diag import SockDiag

# What is read at once: as much as any socket takes whose peer has read everything.
MOST = 8192
# How often to look whether the PT has read: each wait is longer than the one before
# (seconds). PTs read at once.
FIRST_LOOK, LAST_LOOK, LONGER = 0.001, 0.05, 1.3


class Greeting(CopyPump):
    """Moves bytes from the net to the PT client, the last one only when it was read."""

    __slots__ = ("_held", "_sock_diag", "_timer", "_wait")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        source: socket.socket,
        sink: socket.socket,
        ended: Ended,
        *,
        sock_diag: SockDiag,
    ) -> None:
        """Make a pump that stands still.

        Args:
            loop: whose readers and timers drive it.
            source: a non-blocking socket to read from, the net's.
            sink: a non-blocking socket to write to, the PT's.
            ended: called once with how it ended, but not after `stop`.
            sock_diag: tells what the PT has read.
        """
        super().__init__(loop, source, sink, ended)
        self._sock_diag = sock_diag
        self._held = b""
        self._timer: asyncio.TimerHandle | None = None
        self._wait = FIRST_LOOK

    @property
    def is_blocked(self) -> bool:
        """Whether bytes wait for the PT to read others."""
        return bool(self._held)

    def stop(self) -> None:
        """Stand still for good; what was held back is lost."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        super().stop()

    def finish(self) -> bool:
        """Give the PT the rest, since it is through, and stop; tell whether it took it.

        What the PT has not read by now, it will read after its handshake.
        """
        is_all = not self._held or self._send(self._held) == len(self._held)
        self.stop()
        return is_all

    def _read(self) -> None:
        data = self._receive(MOST)
        if data is None:
            return
        self._loop.remove_reader(self._source.fileno())
        self._held = data
        self._wait = LONGER * FIRST_LOOK
        self._timer = self._loop.call_later(FIRST_LOOK, self._look)
        if len(data) > 1:
            self._feed(len(data) - 1)

    def _look(self) -> None:
        """Feed the PT what waits once it has read everything before, or look again."""
        if self._has_read() and not self._feed(max(1, len(self._held) - 1)):
            return
        if self._held:
            self._timer = self._loop.call_later(self._wait, self._look)
            self._wait = min(LONGER * self._wait, LAST_LOOK)
        else:
            self._timer = None
            self._loop.add_reader(self._source.fileno(), self._read)

    def _has_read(self) -> bool:
        """Tell whether the PT has read all that it was fed, as far as can be known."""
        peer = self._sock_diag.peer(self._sink)
        is_read = not isinstance(peer, TcpSocket) or not peer.unread
        return is_read and not waiting(self._sink)

    def _feed(self, size: int) -> bool:
        """Write some of what waits; tell whether that did not end us."""
        sent = self._send(self._held[:size])
        if sent is None:
            return False
        self._held = self._held[sent:]
        return True
