"""Half-close, discard what still arrives until the peer closes, then close.

To close a socket on which bytes arrive makes the kernel reset the connection, and then
the peer may lose what it was sent last. So what it still sends is read and thrown away
until it has taken everything; only who goes on even then is reset.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pt_bridge.net.sockets import half_close, reset, unsent
from pt_bridge.relay.pump import CHUNK

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Callable

# How long a peer may leave out its own EOF once it has everything, and take nothing of
# what it was sent, where it is not given more time (seconds).
DRAINING_LIMIT = 10.0


class DrainingClose:
    """Half-closes a socket, hears the peer out, and closes it."""

    __slots__ = (
        "_limit",
        "_loop",
        "_on_ended",
        "_patience",
        "_sock",
        "_timer",
        "_unsent",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        on_ended: Callable[[DrainingClose], None],
        *,
        limit: float = DRAINING_LIMIT,
        patience: float | None = None,
    ) -> None:
        """Begin.

        Args:
            loop: the event loop.
            sock: a connected, non-blocking socket, which it owns from now on.
            on_ended: called once when it is closed, but not by `reset`.
            limit: for how long nothing may happen, in seconds.
            patience: the same while it has not taken all; by default, `limit`.
        """
        self._loop = loop
        self._sock = sock
        self._on_ended = on_ended
        self._limit, self._patience = limit, patience or limit
        half_close(sock)
        loop.add_reader(sock.fileno(), self._read)
        self._wait()

    def reset(self) -> None:
        """End it at once, with a reset."""
        self._timer.cancel()
        self._loop.remove_reader(self._sock.fileno())
        reset(self._sock)

    def _read(self) -> None:
        try:
            data = self._sock.recv(CHUNK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self._timer.cancel()
            self._loop.remove_reader(self._sock.fileno())
            self._sock.close()
            self._on_ended(self)
        elif not unsent(self._sock):
            self.reset()
            self._on_ended(self)

    def _wait(self) -> None:
        self._unsent = unsent(self._sock)
        limit = self._patience if self._unsent else self._limit
        self._timer = self._loop.call_later(limit, self._look)

    def _look(self) -> None:
        if unsent(self._sock) < self._unsent:
            self._wait()
        else:
            self.reset()
            self._on_ended(self)
