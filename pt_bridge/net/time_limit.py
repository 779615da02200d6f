"""A time limit that many have in common, watched with one timer of the loop's.

A timer for each of them would cost a turn of the loop, and most of them are stopped
long before they are due.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Hashable


class TimeLimit:
    """Calls back for each that has taken longer than is allowed.

    Attributes:
        seconds: how long each may take.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        """Create one that watches nothing.

        Args:
            loop: the event loop.
            seconds: how long each may take.
        """
        self._loop = loop
        self.seconds = seconds
        self._timer: asyncio.TimerHandle | None = None
        # When each is due, and who is told; the first is due first.
        self._begun: dict[Hashable, tuple[float, Callable[[], None]]] = {}

    def start(self, key: Hashable, on_late: Callable[[], None]) -> None:
        """Begin to watch one that is not watched yet.

        Args:
            key: what `stop` is told.
            on_late: called once, if it is not stopped before that.
        """
        self._begun[key] = (self._loop.time() + self.seconds, on_late)
        if self._timer is None:
            self._timer = self._loop.call_later(self.seconds, self._look)

    def stop(self, key: Hashable) -> None:
        """Watch one no more; safe to call again.

        The timer runs on: it would only be set again for the next one.
        """
        self._begun.pop(key, None)

    def close(self) -> None:
        """Watch nothing any more."""
        self._begun.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        now = self._loop.time()
        late = []
        for key, (due, _) in self._begun.items():
            if due > now:
                break
            late.append(key)
        try:
            for key in late:
                begun = self._begun.pop(key, None)
                if begun is not None:  # else it was stopped by one of the others
                    begun[1]()
        finally:  # whatever was raised, the others are watched
            self._go_on(now)

    def _go_on(self, now: float) -> None:
        # Who begins only now, for what is late, finds a timer, and so sets none that
        # would ring later than for the first of those who are left.
        self._timer = None
        if self._begun:
            due, _ = next(iter(self._begun.values()))
            self._timer = self._loop.call_later(max(0.0, due - now), self._look)
