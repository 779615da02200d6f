"""Reads the header that a balancer sends before a client's first byte.

What is no header goes on to the PT as it is, and at once: whoever looks for open ports
must meet the PT, and nothing that waits for something else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pt_bridge.errors import ProtocolError
from pt_bridge.protocol.proxy_protocol import SHORTEST_LINE, Header, parse

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Callable

    from pt_bridge.listen.acceptor import CallLater, Timer

    # Called with the header, or with None and all that was read.
    OnRead = Callable[[Header | None, bytes], None]

# How long a balancer may take (seconds); it sends its header with the first packet.
LIMIT = 10.0


class HeaderReader:
    """Reads one header, and not a byte more; the socket stays its caller's."""

    __slots__ = ("_data", "_loop", "_missing", "_on_read", "_sock", "_timer")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        on_read: OnRead,
        call_later: CallLater,
    ) -> None:
        """Begin to read.

        Args:
            loop: the event loop.
            sock: a connected, non-blocking socket.
            on_read: called once, from the loop, unless `stop` is called before.
            call_later: the clock.
        """
        self._loop = loop
        self._sock = sock
        self._on_read = on_read
        self._data = b""
        self._missing = SHORTEST_LINE
        self._timer: Timer = call_later(LIMIT, self._give_up)
        loop.add_reader(sock.fileno(), self._read)

    def stop(self) -> None:
        """Read no more."""
        self._timer.cancel()
        self._loop.remove_reader(self._sock.fileno())

    def _read(self) -> None:
        try:
            data = self._sock.recv(self._missing)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:  # reset; the connection's other end will be told of it
            data = b""
        if not data:
            self._give_up()
            return
        self._data += data
        try:
            found = parse(self._data)
        except ProtocolError:
            self._give_up()
            return
        if isinstance(found, Header):
            self.stop()
            self._on_read(found, b"")
        else:
            self._missing = found

    def _give_up(self) -> None:
        """Pass on what is no header, or not a whole one."""
        self.stop()
        self._on_read(None, self._data)
