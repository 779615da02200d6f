"""Wake up less often while much arrives.

A PT writes 20 to 50 KiB at a time, and to be woken for each costs more than to move it.
So the kernel is asked to wake us only once half of what came in the last milliseconds
is there. Measured through obfs4proxy, both sides: three quarters to four fifths of the
CPU for each byte at 20 and 60 MB/s, beside waiting for 256 KiB in 3 ms alone.

What is awaited may not come: then the end of a burst is late. That is seen at the next
look, all of it is passed on, and for a while nothing is awaited. An EOF wakes us at
once, however little comes before it.
"""

from __future__ import annotations

from socket import SO_RCVLOWAT, SOL_SOCKET
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    import socket

# The most that is awaited (bytes), and the least: that is what a PT writes at once. The
# kernel makes it half the receive buffer's size, where that is less and was set.
COALESCED = 256 * 1024
LEAST_COALESCED = 32 * 1024
# Over how long it is seen how fast bytes come (seconds). The end of a burst may be late
# by twice that.
LOOK = 0.005
# The same once one was late. Measured: a peer that asks for 32 KiB, and again when they
# are there, gets half as many without that. Beside `COALESCED` bytes it matters less.
LOOK_AGAIN = 0.1


class Coalescing:
    """Watches how fast bytes come from one socket, and sets SO_RCVLOWAT after that."""

    __slots__ = (
        "_awaited",
        "_check",
        "_loop",
        "_moved",
        "_pieces",
        "_since",
        "_sock",
        "_span",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
        """Begin to watch.

        Args:
            loop: the event loop.
            sock: what is read from; it must be open when `stop` is called.
        """
        self._loop = loop
        self._sock = sock
        self._moved = self._pieces = self._awaited = 0
        self._since, self._span = 0.0, LOOK
        self._check: asyncio.TimerHandle | None = None

    def read(self, count: int) -> None:
        """Take note that so many bytes were read at once."""
        self._moved += count
        self._pieces += 1
        if self._check is not None:
            return
        now = self._loop.time()
        passed = now - self._since
        if passed < self._span:
            return
        number = min(int(self._moved * LOOK / passed) // 2, COALESCED)
        are_small = self._moved // self._pieces <= number // 2
        self._begin(now, LOOK)
        if number >= LEAST_COALESCED and are_small:
            self._await(number)

    def stop(self) -> None:
        """Wake up for every byte again; safe to call again."""
        if self._check is not None:
            self._check.cancel()
            self._check = None
            self._awaited = 0
            # The kernel looks at once whether there is something to wake us for.
            self._sock.setsockopt(SOL_SOCKET, SO_RCVLOWAT, 1)

    def _begin(self, now: float, span: float) -> None:
        self._since, self._span = now, span
        self._moved = self._pieces = 0

    def _await(self, number: int) -> None:
        if number != self._awaited:
            self._awaited = number
            self._sock.setsockopt(SOL_SOCKET, SO_RCVLOWAT, number)
        self._moved = 0
        self._check = self._loop.call_later(LOOK, self._look)

    def _look(self) -> None:
        half = self._moved // 2
        if half >= LEAST_COALESCED and self._moved >= self._awaited:
            self._await(min(half, COALESCED))
            return
        span = LOOK if self._awaited == COALESCED else LOOK_AGAIN
        self.stop()
        self._begin(self._loop.time(), span)
