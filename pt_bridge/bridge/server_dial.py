"""One dialling of the server for a connection, or for none yet, from start to end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from pt_bridge.system.log import logger

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from pt_bridge.bridge.dials import Dials
    from pt_bridge.net.dialling import Dialling
    from pt_bridge.net.time_limit import TimeLimit
    from pt_bridge.pool.spares import OnDialled
    from pt_bridge.ways.addresses import OnReached, Place


class ServerDialOwner(Protocol):
    """Who dials: a client's bridge."""

    def on_dial_slow(self, dial: ServerDial) -> None:
        """Learn that nothing has answered for a while, or still not."""

    def judge(
        self, dial: ServerDial, got: socket.socket | Exception, way: Place
    ) -> socket.socket | Exception | None:
        """Count what has come of one; return it, or None where the PT has died."""


class ServerDial:
    """Calls back once, whatever becomes of it.

    Attributes:
        local: whose it is, if anybody's.
        began: when, on the loop's clock.
        is_known_slow: whether its owner was told before that nothing answers.
    """

    __slots__ = (
        "_dialling",
        "_dials",
        "_on_dialled",
        "_owner",
        "_slow",
        "began",
        "is_known_slow",
        "local",
    )

    def __init__(
        self,
        owner: ServerDialOwner,
        local: socket.socket | None,
        on_dialled: OnDialled,
        *,
        dials: Dials,
        began: float,
        slow: TimeLimit,
    ) -> None:
        """Create one that has not begun.

        Args:
            owner: who dials.
            local: whose it is, if anybody's.
            on_dialled: gets what comes of it.
            dials: knows it until it has ended.
            began: when it begins, on the loop's clock.
            slow: after how long its owner is told that nothing answers yet.
        """
        self._owner = owner
        self._on_dialled: OnDialled | None = on_dialled
        self._dialling: Dialling | None = None
        self._dials = dials
        self._slow = slow
        self.local = local
        self.began = began
        self.is_known_slow = False

    def begin(self, dial: Callable[[OnReached], Dialling]) -> None:
        """Begin; `dial` gets whom to call back."""
        self._dials.add(self)
        self._slow.start(self, self._is_slow)
        try:
            self._dialling = dial(self._on_reached)
        except Exception:
            logger.exception("a bug ended a connection")
            self.cancel()

    def cancel(self) -> None:
        """Give it up, as one whose PT has died; safe to call again."""
        dialling = self._dialling
        if dialling is not None:
            dialling.cancel()
        self._end(None, None)

    def _on_reached(self, got: socket.socket | Exception, way: Place) -> None:
        try:
            judged = self._owner.judge(self, got, way)
        except Exception:
            logger.exception("a bug ended a connection")
            judged = None
        self._end(judged, way)

    def _end(self, got: socket.socket | Exception | None, way: Place | None) -> None:
        on_dialled, self._on_dialled = self._on_dialled, None
        if on_dialled is None:
            return
        self._dialling = None
        self._slow.stop(self)
        self._dials.remove(self)
        on_dialled(got, way)
        self._dials.on_ended()

    def _is_slow(self) -> None:
        self._owner.on_dial_slow(self)
        self.is_known_slow = True
        if self._on_dialled is not None:
            self._slow.start(self, self._is_slow)
