"""Close idle connections of a server where more are open than may be.

Whoever holds the cert gets through the PT, and may then say nothing for as long as he
likes. Where more connections are open than the limit of open files allows, the one
that has been silent for longest goes first, so that any number of them keeps no client
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


class IdleEviction(Generic[T]):
    """Knows which connections carry nothing, and evicts the longest idle ones."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        evict: Callable[[T], None],
        *,
        excess: Callable[[], int],
    ) -> None:
        """Know no connection yet.

        Args:
            loop: the event loop.
            evict: closes a connection.
            excess: returns how many connections are open that should not be.
        """
        self._loop = loop
        self._evict = evict
        self._excess = excess
        self._silent: dict[T, float] = {}  # the longest silent first
        self._timer: asyncio.TimerHandle | None = None

    def add(self, connection: T) -> None:
        """Know of one that carries nothing from now on."""
        self._silent[connection] = self._loop.time()
        if self._timer is None or self._excess() > MOST_EXCESS:
            self._look()

    def discard(self, connection: T) -> None:
        """Forget one that carries something, or is closed; safe to call again."""
        self._silent.pop(connection, None)

    def evict_one(self, patience: float = PATIENCE) -> bool:
        """Evict the one silent for longest, and return whether there was one.

        Args:
            patience: how long it must have been silent, in seconds.
        """
        longest = next(iter(self._silent), None)
        if longest is None or self._loop.time() - self._silent[longest] < patience:
            return False
        del self._silent[longest]
        self._evict(longest)
        return True

    def stop(self) -> None:
        """Look no more, until one is added; safe to call again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        """Evict as many as there are too many, now or when they may be evicted."""
        self.stop()
        while (excess := self._excess()) > 0:
            if not self.evict_one(PATIENCE if excess <= MOST_EXCESS else 0.0):
                self._timer = self._loop.call_later(self._wait(), self._look)
                return

    def _wait(self) -> float:
        """Return how long it takes until one may be evicted (seconds)."""
        now = self._loop.time()
        return next(iter(self._silent.values()), now) + PATIENCE - now
