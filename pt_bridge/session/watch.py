"""Looking at a PT connection now and then, while a stream is open on it.

It says BEAT where that is due, and closes a connection whose peer has gone, or whose
stream was not accepted, nor its reset answered, in time.
"""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

from pt_bridge.session.silence import SOON, UNANSWERED_LIMIT, Silence

if TYPE_CHECKING:
    import asyncio

    from pt_bridge.session.connection import SessionConnection

# How long the answer to our RESET may take, while the peer is there (seconds).
RESET_LIMIT = 75.0
# While a service is slow to take a stream, the server says that it is there so often
# (seconds): a client that hears nothing tries elsewhere.
REACHING_BEAT = 0.5


class Watch:
    """The timer of one connection's open stream, and what it looks at."""

    __slots__ = (
        "_accept_by",
        "_connection",
        "_due",
        "_late",
        "_late_at",
        "_loop",
        "_reset_by",
        "_silence",
        "_timer",
    )

    def __init__(
        self, loop: asyncio.AbstractEventLoop, connection: SessionConnection
    ) -> None:
        """Create a watch that looks at nothing yet.

        Args:
            loop: the event loop.
            connection: what is looked at.
        """
        self._loop = loop
        self._connection: SessionConnection | None = connection
        self._silence = Silence(loop.time())
        self._accept_by: float | None = None
        self._late_at, self._late = math.inf, math.inf
        self._reset_by: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0

    @property
    def is_accept_awaited(self) -> bool:
        """Whether the server has not yet accepted the stream, nor refused it."""
        return self._accept_by is not None

    def begin(
        self,
        now: float,
        first: float,
        accept: float | None = None,
        late: float = math.inf,
    ) -> None:
        """Look at a stream that is opened.

        Args:
            now: the loop's time.
            first: when to look for the first time, in seconds from now.
            accept: how long the server may take to accept it (client), in seconds.
            late: when that is too long to wait for it alone (client), in seconds.
        """
        self._silence = Silence(now)
        self._reset_by = None
        self._accept_by = None if accept is None else now + accept
        self._late_at, self._late = now + late, late
        self._look_again(min(SOON, first, late, SOON if accept is None else accept))

    def said(self, now: float) -> None:
        """Take note that frames other than BEAT were sent."""
        self._silence.said(now)
        if self._due - now > SOON:
            self._look_again(SOON)

    def heard(self, now: float, *, is_beat: bool, is_before: bool = False) -> None:
        """Take note that something came.

        Args:
            now: the loop's time.
            is_beat: whether it was no more than BEAT.
            is_before: whether the server is still busy with the stream before, which
                was left: then the one that is open need not wait for it alone.
        """
        self._silence.heard(now, is_beat=is_beat)
        if self._due - now > SOON and not is_beat:
            self._look_again(SOON)
        if self._accept_by is not None:  # it is there, and has something to wait for
            self._accept_by = now + UNANSWERED_LIMIT
            if not is_before:
                self._late_at = now + 2 * REACHING_BEAT + self._late

    def on_answered(self) -> None:
        """Wait for the server's ACCEPT no more."""
        self._accept_by = None
        self._late_at = math.inf

    def stop(self) -> None:
        """Look no more, until `begin`; safe to call again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._due = 0.0
        self._accept_by = self._reset_by = None
        self._late_at = math.inf

    def end(self) -> None:
        """Look no more, ever, and forget the connection."""
        self.stop()
        self._connection = None

    def _look_again(self, wait: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(wait, self._look)
        self._due = self._loop.time() + wait

    def _look(self) -> None:
        now, connection = self._loop.time(), self._connection
        assert connection is not None  # or there would be no timer
        if self._accept_by is not None and now >= self._accept_by:
            connection.close("no ACCEPT in time")
            return
        if self._reset_by is not None and now >= self._reset_by:
            connection.close("no answer to RESET in time")
            return
        if now >= self._late_at:
            self._late_at = math.inf
            connection.owner.on_late(connection)
        verdict = self._silence.verdict(
            now,
            is_reading=connection.is_reading,
            chance=random.random(),  # noqa: S311 - no secret
        )
        if verdict.is_gone:
            connection.close("the peer has said nothing for too long")
            return
        wait = verdict.wait
        # A server has yet to reach its service.
        is_reaching = not (connection.is_client or connection.session.is_accepted)
        if is_reaching:
            wait = min(wait, REACHING_BEAT)
        if verdict.must_beat or is_reaching:
            if connection.can_send:
                self._silence.beat(now)
                connection.say_beat()
            else:
                wait = SOON
        self._look_at_stream(connection, now, wait)

    def _look_at_stream(
        self, connection: SessionConnection, now: float, wait: float
    ) -> None:
        """Apply the stream's own limits, and look again when there is need."""
        stream = connection.stream
        if connection.is_closed or stream is None:
            return
        wait = min(wait, stream.check_limits(now))
        if connection.stream is None:  # that has ended it
            return
        if stream.reset_sent:
            self._reset_by = self._reset_by or now + RESET_LIMIT
            wait = min(wait, self._reset_by - now)
        if self._accept_by is not None:
            wait = min(wait, self._accept_by - now, self._late_at - now)
        self._look_again(wait)
