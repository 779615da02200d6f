"""Making connections before a stream asks for them, one after the other."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from pt_bridge.pool.preconnect import gap

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Callable
    from typing import Protocol

    from pt_bridge.pool.preconnect import Preconnect

    class OnDialled(Protocol):
        """Gets what came of dialling."""

        def __call__(
            self, got: socket.socket | Exception | None, way: object = None
        ) -> None:
            """Take over a connection through the PT, or learn why there is none.

            Args:
                got: None where the PT itself has gone.
                way: by which way the connection leads to the server.
            """

    # Dials for a local connection, or for none yet; not by a way, if there is another.
    Dial = Callable[[socket.socket | None, OnDialled, object], None]


class Spares:
    """Has a connection made whenever fewer are ready than are likely to be needed."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        policy: Preconnect,
        *,
        count: Callable[[], tuple[int, int] | None],
        dial: Dial,
        keep: Callable[[socket.socket, object], None],
    ) -> None:
        """Begin with none.

        Args:
            loop: the event loop.
            policy: says how many are wanted.
            count: returns how many streams are open and how many connections are ready,
                or None where none can be made now.
            dial: begins to make one, and calls back in any case.
            keep: owns one that was made, and learns by which way.
        """
        self._loop = loop
        self._policy = policy
        self._count = count
        self._dial = dial
        self._keep = keep
        self._timer: asyncio.TimerHandle | None = None
        self._is_making = False

    def on_began(self, streams: int) -> None:
        """Count a stream that has a connection, or is dialled for.

        Args:
            streams: how many are open, it included.
        """
        self._policy.began(self._loop.time(), streams)
        self._look()

    def stop(self) -> None:
        """Make no more, until a stream begins; safe to call again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _is_wanted(self) -> bool:
        counted = self._count()
        if counted is None:
            return False
        streams, ready = counted
        return ready < self._policy.wanted(self._loop.time(), streams)

    def _look(self) -> None:
        if self._timer is None and not self._is_making and self._is_wanted():
            wait = gap(random.random())  # noqa: S311 - no secret
            self._timer = self._loop.call_later(wait, self._begin)

    def _begin(self) -> None:
        self._timer = None
        if self._is_wanted():
            self._is_making = True
            self._dial(None, self._on_dialled, None)

    def _on_dialled(
        self, got: socket.socket | Exception | None, way: object = None
    ) -> None:
        self._is_making = False
        if isinstance(got, Exception) or got is None:
            return  # the next stream that begins asks again
        before = self._count()
        self._keep(got, way)
        if self._count() != before:  # it was of use
            self._look()
