"""Wake up less often while much arrives.

A PT writes 20 to 50 KiB at a time, and to be woken for each costs more than to move it.
Measured through obfs4proxy: half the CPU for each byte.
"""

from __future__ import annotations

from socket import SO_RCVLOWAT, SOL_SOCKET
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    import socket

# Where this many bytes come within so many seconds, in smaller pieces, the kernel is
# asked to wake us only once they are there. The end of a burst may so be late by twice
# that time, once.
COALESCED = 256 * 1024
COALESCED_WITHIN = 0.003


class Coalescing:
    """Watches how fast bytes come from one socket, and sets SO_RCVLOWAT after that."""

    __slots__ = ("_before", "_check", "_loop", "_moved", "_since", "_sock")

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
        """Begin to watch.

        Args:
            loop: the event loop.
            sock: what is read from; it must be open when `stop` is called.
        """
        self._loop = loop
        self._sock = sock
        self._moved = 0
        self._since = 0.0
        self._before = 0
        self._check: asyncio.TimerHandle | None = None

    def read(self, count: int) -> None:
        """Take note that so many bytes were read at once."""
        self._moved += count
        if self._check is not None or count >= COALESCED:
            return
        now = self._loop.time()
        if now - self._since > COALESCED_WITHIN:
            self._since, self._before = now, self._moved
        elif self._moved - self._before >= COALESCED:
            self._sock.setsockopt(SOL_SOCKET, SO_RCVLOWAT, COALESCED)
            self._check_later()

    def stop(self) -> None:
        """Wake up for every byte again; safe to call again."""
        if self._check is not None:
            self._check.cancel()
            self._check = None
            # The kernel looks at once whether there is something to wake us for.
            self._sock.setsockopt(SOL_SOCKET, SO_RCVLOWAT, 1)

    def _check_later(self) -> None:
        self._before = self._moved
        self._check = self._loop.call_later(COALESCED_WITHIN, self._look)

    def _look(self) -> None:
        if self._moved - self._before >= COALESCED:
            self._check_later()
        else:
            self.stop()
