"""Notice that a connection was reset though nobody reads from it any more.

An event loop tells that a socket can be read or written. One whose EOF was read can
always be read, so nobody may wait for that; and most can always be written. That such a
connection was reset stays unknown until somebody writes to it, which may be never. The
kernel tells at once, if it is asked for that alone: by an epoll of its own, which the
loop watches like any other descriptor.
"""

from __future__ import annotations

import select
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Callable

# How many are told in one turn of the loop; the others have theirs in between.
TOLD_AT_ONCE = 64


class Hangups:
    """Watches connections for as long as its block lasts; it takes one descriptor."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Create one that watches nothing.

        Args:
            loop: the event loop.
        """
        self._loop = loop
        self._told: dict[int, Callable[[], None]] = {}
        self._epoll: select.epoll

    def __enter__(self) -> Hangups:
        self._epoll = select.epoll()
        self._loop.add_reader(self._epoll.fileno(), self._tell)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop watching, whatever is still watched."""
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()
        self._told.clear()

    def __len__(self) -> int:
        return len(self._told)

    def watch(self, sock: socket.socket, on_hangup: Callable[[], None]) -> None:
        """Call `on_hangup` once, when a connection is dead in both directions.

        Args:
            sock: the connection; `forget` it before it is closed.
            on_hangup: called from the loop, also where it was dead before.
        """
        self._told[sock.fileno()] = on_hangup
        self._epoll.register(sock, 0)  # EPOLLHUP and EPOLLERR come unasked

    def forget(self, sock: socket.socket) -> None:
        """Watch a connection no longer, if it is watched."""
        if self._told.pop(sock.fileno(), None) is not None:
            self._epoll.unregister(sock)

    def _tell(self) -> None:
        # One by one: what one of them does may end another, and reuse its number.
        for _ in range(TOLD_AT_ONCE):
            events = self._epoll.poll(0, 1)
            if not events:
                return
            descriptor, _ = events[0]
            self._epoll.unregister(descriptor)
            self._told.pop(descriptor)()
