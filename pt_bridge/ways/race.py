"""Trying several ways to the server until one gets through (as RFC 8305 has it).

The next one begins as soon as one fails, or when one has been silent for a while; the
first to get through wins, and the others are left.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Callable, Sequence

    from pt_bridge.net.dialling import Dialling, OnConnected

    # Begins to connect by a way.
    Dial = Callable[["T", OnConnected], Dialling]
    # Gets a connection and its way, or the error of the last one that has failed.
    OnReached = Callable[[socket.socket | Exception, "T"], None]

T = TypeVar("T")

# How long one may be silent before the next one begins, too (seconds).
PATIENCE = 2.0


class Race(Generic[T]):
    """Dials the ways in turn; it is a `Dialling` itself."""

    __slots__ = (
        "_dial",
        "_loop",
        "_on_failed",
        "_on_reached",
        "_patience",
        "_running",
        "_silent",
        "_timer",
        "_waiting",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        ways: Sequence[T],
        dial: Dial[T],
        on_failed: Callable[[T, Exception | None], bool],
        on_reached: OnReached[T],
        *,
        patience: float = PATIENCE,
    ) -> None:
        """Begin with the first.

        Args:
            loop: the event loop.
            ways: at least one; the first is tried first.
            dial: begins to connect by one.
            on_failed: told of one that has failed, with the error; None for one that
                was silent for `patience` when another got through. Returns whether
                another may do better.
            on_reached: called once, as `OnConnected` is.
            patience: see `PATIENCE`, in seconds.
        """
        self._loop = loop
        self._waiting = list(ways)
        self._dial = dial
        self._on_failed = on_failed
        self._on_reached = on_reached
        self._patience = patience
        # By number: two ways may be the same.
        self._running: dict[int, tuple[T, Dialling]] = {}
        self._silent: set[int] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._begin_next()

    def cancel(self) -> None:
        """Leave all; safe to call again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._waiting.clear()
        running, self._running = self._running, {}
        for _, dialling in running.values():
            dialling.cancel()

    def _begin_next(self) -> None:
        number, way = len(self._waiting), self._waiting.pop(0)
        dialling = self._dial(way, partial(self._on_connected, number))
        self._running[number] = way, dialling
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting:
            self._timer = self._loop.call_later(self._patience, self._lose_patience)

    def _lose_patience(self) -> None:
        self._silent.update(self._running)
        self._begin_next()

    def _on_connected(self, number: int, got: socket.socket | Exception) -> None:
        way, _ = self._running.pop(number)
        if not isinstance(got, Exception):
            running = self._running
            self.cancel()
            for each in self._silent.intersection(running):
                self._on_failed(running[each][0], None)
            self._on_reached(got, way)
            return
        try:
            may_go_on = self._on_failed(way, got)
        except Exception as bug:
            may_go_on, got = False, bug
        if not may_go_on:
            self.cancel()
            self._on_reached(got, way)
        elif self._waiting:
            self._begin_next()
        elif not self._running:
            self._on_reached(got, way)
