"""A PT connection without a stream: it rests, and no PT keeps half of it in the end.

lyrebird ends a connection only when both its copiers end, one of them by a write that
fails. So the client says BYE, the server answers and resets its own side, and the
client then says BYE once more: the server's lyrebird has that to write, and notices.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from pt_bridge.session.connection import SessionConnection

# How long a connection without a stream is kept (seconds): the client's between the
# two, so that a watcher sees no clockwork; the server's longer, as the client says BYE.
IDLE_LEAST, IDLE_MOST = 20.0, 45.0
SERVER_IDLE = 60.0
# How often a rest begins anew, where the PT has yet to take the last stream's end.
MAX_RESTS = 5
# How long after the server's answer the last word is said, and how long the end of the
# connection may take (seconds).
LAST_WORD, LAST_WAIT = 0.2, 2.0


def idle_for(chance: float, *, is_client: bool) -> float:
    """Return how long a connection may have no stream, in seconds.

    Args:
        chance: a random number from 0 to 1.
        is_client: whose it is.
    """
    if not is_client:
        return SERVER_IDLE
    return IDLE_LEAST + (IDLE_MOST - IDLE_LEAST) * chance


class LeaveTaking:
    """The last moments of a client's connection, from its BYE on."""

    __slots__ = ("_is_answered", "_loop", "_on_over", "_say_bye", "_timer")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        say_bye: Callable[[], None],
        on_over: Callable[[], None],
    ) -> None:
        """Say BYE.

        Args:
            loop: the event loop.
            say_bye: says it; called twice.
            on_over: called if the connection has not ended in time.
        """
        self._loop = loop
        self._say_bye = say_bye
        self._on_over = on_over
        self._is_answered = False
        self._timer = loop.call_later(LAST_WAIT, on_over)
        say_bye()

    def on_answer(self) -> None:
        """Say BYE once more, a moment after the server has.

        Only the first answer counts: a server that goes on would put the end off.
        """
        if self._is_answered:
            return
        self._is_answered = True
        self._timer.cancel()
        self._timer = self._loop.call_later(LAST_WORD, self._say_last_word)

    def stop(self) -> None:
        """Call nobody any more."""
        self._timer.cancel()

    def _say_last_word(self) -> None:
        self._timer = self._loop.call_later(LAST_WAIT, self._on_over)
        self._say_bye()


class Rest:
    """The time of a connection from the end of a stream on, until the next one."""

    __slots__ = ("_connection", "_leaving", "_loop", "_renewals", "_timer")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, connection: SessionConnection
    ) -> None:
        """Begin to rest, and take leave after a while.

        Args:
            loop: the event loop.
            connection: it has no stream.
        """
        self._loop = loop
        self._connection = connection
        self._leaving: LeaveTaking | None = None
        self._renewals = 0
        self._wait()

    def _wait(self) -> None:
        chance = random.random()  # noqa: S311 - no secret
        wait = idle_for(chance, is_client=self._connection.is_client)
        self._timer = self._loop.call_later(wait, self.leave)

    @property
    def is_leaving(self) -> bool:
        """Whether BYE was said."""
        return self._leaving is not None

    def leave(self) -> None:
        """Take leave of the peer: no stream will be opened."""
        if self._leaving is not None:
            return
        self._timer.cancel()
        connection = self._connection
        if connection.has_backlog and self._renewals < MAX_RESTS:
            self._renewals += 1
            connection.owner.on_leaving(connection)
            self._wait()
        elif not connection.is_client:
            connection.say_beat()  # so that a lyrebird has something to fail to write
            connection.close("it was idle")
        elif connection.is_unused:
            connection.close("it was never used")
        else:
            connection.owner.on_leaving(connection)
            self._leaving = LeaveTaking(self._loop, connection.say_bye, self._on_over)

    def on_answer(self) -> None:
        """Give a PT that the server has left a last word."""
        assert self._leaving is not None  # to whom else was it an answer
        self._leaving.on_answer()

    def stop(self) -> None:
        """Rest no more: a stream begins, or the connection is closed."""
        self._timer.cancel()
        if self._leaving is not None:
            self._leaving.stop()
            self._leaving = None

    def _on_over(self) -> None:
        self._connection.close("it has taken leave")
