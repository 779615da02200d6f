"""How long a PT connection may have no stream, and how it is closed then.

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
# How often that time begins anew, where the PT has yet to take the last stream's end.
MAX_RENEWALS = 5
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


class ClosingHandshake:
    """The end of a client's connection: BYE, the server's answer, BYE once more."""

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


class IdlePeriod:
    """The time of a connection from the end of a stream on, until the next one."""

    __slots__ = ("_closing", "_connection", "_loop", "_renewals", "_timer")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, connection: SessionConnection
    ) -> None:
        """Begin, and close the connection after a while.

        Args:
            loop: the event loop.
            connection: it has no stream.
        """
        self._loop = loop
        self._connection = connection
        self._closing: ClosingHandshake | None = None
        self._renewals = 0
        self._wait()

    def _wait(self) -> None:
        chance = random.random()  # noqa: S311 - no secret
        wait = idle_for(chance, is_client=self._connection.is_client)
        self._timer = self._loop.call_later(wait, self.close)

    @property
    def is_closing(self) -> bool:
        """Whether BYE was said."""
        return self._closing is not None

    def close(self) -> None:
        """Close the connection, by the handshake if it has carried anything."""
        if self._closing is not None:
            return
        self._timer.cancel()
        connection = self._connection
        if connection.has_backlog and self._renewals < MAX_RENEWALS:
            self._renewals += 1
            connection.owner.on_closing(connection)
            self._wait()
        elif not connection.is_client:
            connection.say_beat()  # so that a lyrebird has something to fail to write
            connection.close("it was idle")
        elif connection.is_unused:
            connection.close("it was never used")
        else:
            connection.owner.on_closing(connection)
            self._closing = ClosingHandshake(
                self._loop, connection.say_bye, self._on_over
            )

    def on_answer(self) -> None:
        """Give a PT that the server has left a last word."""
        assert self._closing is not None  # to whom else was it an answer
        self._closing.on_answer()

    def stop(self) -> None:
        """Be over: a stream begins, or the connection is closed."""
        self._timer.cancel()
        if self._closing is not None:
            self._closing.stop()
            self._closing = None

    def _on_over(self) -> None:
        self._connection.close("BYE was said")
