"""A server's connections that carry nothing, and who of them goes for others.

Whoever holds the cert gets through the PT, and may then say nothing for as long as he
likes. Where more connections are open than the limit of open files allows, the one
that has been silent for longest goes first, so that a crowd of them keeps no client
out. The PT has the same limit, and needs two descriptors for each connection, too: it
must not come to its own before we do anything, or nobody new would get through it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

T = TypeVar("T")

# How long somebody may be silent although others need room (seconds): a client's first
# bytes are one round trip behind the PT's handshake.
PATIENCE = 1.0
# How many may be too many before nobody is waited for. The PT has room for more.
MOST_EXCESS = 8


class Crowd(Generic[T]):
    """Knows who carries nothing, and since when."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        drop: Callable[[T], None],
        *,
        excess: Callable[[], int],
    ) -> None:
        """Know nobody yet.

        Args:
            loop: the event loop.
            drop: closes a connection, which must leave.
            excess: returns how many connections are open that should not be.
        """
        self._loop = loop
        self._drop = drop
        self._excess = excess
        self._silent: dict[T, float] = {}  # the longest silent first
        self._timer: asyncio.TimerHandle | None = None

    def enter(self, connection: T) -> None:
        """Know of one that carries nothing from now on."""
        self._silent[connection] = self._loop.time()
        if self._timer is None or self._excess() > MOST_EXCESS:
            self._look()

    def leave(self, connection: T) -> None:
        """Forget one that carries something, or is closed; safe to call again."""
        self._silent.pop(connection, None)

    def drop_one(self, patience: float = PATIENCE) -> bool:
        """Drop who has been silent for longest, and return whether anybody was.

        Args:
            patience: for how long he must have been, in seconds.
        """
        longest = next(iter(self._silent), None)
        if longest is None or self._loop.time() - self._silent[longest] < patience:
            return False
        del self._silent[longest]
        self._drop(longest)
        return True

    def stop(self) -> None:
        """Look no more, until somebody enters; safe to call again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        """Drop as many as there are too many, now or when they may be dropped."""
        self.stop()
        while (excess := self._excess()) > 0:
            if not self.drop_one(PATIENCE if excess <= MOST_EXCESS else 0.0):
                self._timer = self._loop.call_later(self._wait(), self._look)
                return

    def _wait(self) -> float:
        """Return how long it takes until somebody may be dropped (seconds)."""
        now = self._loop.time()
        return next(iter(self._silent.values()), now) + PATIENCE - now
