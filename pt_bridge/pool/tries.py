"""The tries of a client's streams: dialled for, later again, or on two at once.

A stream for which no connection is ready has one made. Where that fails, it is dialled
for again a little later; without a PT it waits for the next one. Where its connection
ends before ACCEPT it is tried on another one, and where ACCEPT is late, on a second one
beside the first.
"""

from __future__ import annotations

import random
from functools import partial
from typing import TYPE_CHECKING, Protocol

from pt_bridge.errors import ArgumentsRejected, LoginRefused
from pt_bridge.pool.accept_times import wait_before
from pt_bridge.pool.redialling import Redialling
from pt_bridge.pool.stream_timers import StreamTimers
from pt_bridge.system.log import logger

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Callable

    from pt_bridge.pool.spares import Dial
    from pt_bridge.session.owners import AnyStream
    from pt_bridge.session.stream import Stream

# How many connections that were made for a stream may end before ACCEPT, or be late.
MAX_ATTEMPTS = 3


class TriesOwner(Protocol):
    """Who has the connections: a client's `Pool`.

    Attributes:
        streams: those that are open.
        tried_again: how often one was tried on another connection.
    """

    streams: set[AnyStream]
    tried_again: int

    @property
    def may_redial(self) -> bool:
        """Whether a server that could not be reached may be dialled again."""

    def place(
        self, stream: Stream, *, fresh: bool = False, may_wait: bool = True
    ) -> None:
        """Carry a stream on a connection that is ready, or have one made."""

    def use(
        self, stream: Stream, got: socket.socket, way: object, seconds: float
    ) -> None:
        """Carry a stream on a connection that was made for it in so many seconds."""

    def keep_spare(self, got: socket.socket, way: object) -> None:
        """Own a connection that its stream does not need any more."""

    def give_up(self, stream: Stream) -> None:
        """End a stream for which there is no connection."""


class Tries:
    """The streams that wait for a connection, the first one or a second.

    Attributes:
        is_open: whether there is a PT to dial through.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        owner: TriesOwner,
        dial: Dial,
        *,
        patience: float,
        pt_is_ending: Callable[[], bool],
    ) -> None:
        """Begin without a stream, and without a PT.

        Args:
            loop: the event loop.
            owner: has the connections.
            dial: begins to dial the server through the PT for a local socket, and calls
                back in any case.
            patience: how long a stream may wait for the next PT (seconds).
            pt_is_ending: tells whether the PT has begun to exit.
        """
        self._loop, self._owner, self._dial = loop, owner, dial
        self._patience, self._pt_is_ending = patience, pt_is_ending
        self.is_open = False
        # Those that are dialled for now, and whether beside a connection they have.
        self._dialling: dict[Stream, bool] = {}
        # Streams that wait for a PT, or to be dialled for again, and their timers.
        self._waiting = StreamTimers(loop)
        self._redialling = Redialling()

    @property
    def number_waiting(self) -> int:
        """How many streams wait for a PT, or to be dialled for again."""
        return len(self._waiting)

    def open(self) -> None:
        """Dial from now on: there is a PT, and who waited for it goes first."""
        self.is_open = True
        waiting = [each for each in self._waiting if each not in self._redialling]
        for stream in waiting:
            self._waiting.stop(stream)
            self._owner.place(stream)

    def stop(self) -> None:
        """Try nothing any more."""
        self.is_open = False
        self._waiting.clear()
        self._redialling.clear()

    def forget(self, stream: Stream) -> None:
        """Have nothing to do with a stream any more; safe to call again."""
        self._dialling.pop(stream, None)
        self._waiting.stop(stream)
        self._redialling.forget(stream)

    def first_without_connection(self) -> Stream | None:
        """Return the stream that has been dialled for longest, or None."""
        without = (each for each in self._dialling if each.connection is None)
        return next(without, None)

    def begin(self, stream: Stream) -> None:
        """Have a connection made for a stream, as soon as there is a PT."""
        if self.is_open:
            self._dial_for(stream)
        else:
            self._wait_for_pt(stream)

    def wait(self, stream: Stream, seconds: float) -> None:
        """Place a stream a moment later: a connection may be had then."""
        then = partial(self._owner.place, may_wait=False)
        self._waiting.start(stream, seconds, then)

    def again(self, stream: Stream) -> None:
        """Try a stream on another connection: its own has ended before ACCEPT."""
        if stream in self._dialling:  # for a second connection, which is the first now
            return
        self._owner.tried_again += 1
        logger.debug("~ a stream is tried again on another connection")
        if stream.attempts:
            wait = wait_before(stream.attempts, random.random())  # noqa: S311
            then = partial(self._owner.place, fresh=True)
            self._waiting.start(stream, wait, then)
        else:
            self._owner.place(stream, fresh=True)

    def beside(self, stream: Stream) -> None:
        """Try a stream on a second connection: ACCEPT is late on its own."""
        may_try = self.is_open and stream.attempts < MAX_ATTEMPTS
        is_alone = stream.second_try is None and not self._dialling.get(stream, False)
        is_unaccepted = stream.kept is not None and may_try
        if not (is_alone and is_unaccepted) or stream.connection is None:
            return
        stream.attempts += 1
        self._owner.tried_again += 1
        logger.debug("~ a stream is tried on a second connection")
        if stream in self._dialling:  # it took one that became free before
            self._dialling[stream] = True
        else:
            self._dial_for(stream, avoid=stream.connection.way)

    def _beside_later(self, stream: Stream) -> None:
        wait = wait_before(max(1, stream.attempts), random.random())  # noqa: S311
        self._waiting.start(stream, wait, self.beside)

    def _wait_for_pt(self, stream: Stream) -> None:
        self._redialling.forget(stream)  # else `open` would leave it out
        self._waiting.start(stream, self._patience, self._owner.give_up)

    def _dial_for(self, stream: Stream, avoid: object = None) -> None:
        """Have a connection made for a stream, which may be waiting on one already."""
        self._dialling[stream] = stream.connection is not None
        on_dialled = partial(self._on_dialled, stream, self._loop.time())
        self._dial(stream.local, on_dialled, avoid)

    def _on_dialled(
        self,
        stream: Stream,
        began: float,
        got: socket.socket | Exception | None,
        way: object = None,
    ) -> None:
        is_second = self._dialling.pop(stream, False)
        has_connection = stream.connection is not None
        is_open = stream in self._owner.streams
        if got is None or isinstance(got, Exception):
            if is_second and has_connection:
                self._beside_later(stream)
            elif is_open and not has_connection:
                self._dial_again(stream, got, began)
            return
        self._redialling.forget(stream)
        is_placed = not is_open or stream.kept is None
        if is_placed or (has_connection and not is_second):
            self._owner.keep_spare(got, way)
        else:
            self._owner.use(stream, got, way, self._loop.time() - began)

    def _dial_again(
        self, stream: Stream, error: Exception | None, began: float
    ) -> None:
        """Try once more a little later, wait for the next PT, or give the stream up.

        Args:
            stream: whose dialling has failed.
            error: why; None where the PT itself has gone.
            began: when it did.
        """
        if not self.is_open or (error is None and self._pt_is_ending()):
            self._wait_for_pt(stream)
            return
        is_final = error is None or isinstance(error, (ArgumentsRejected, LoginRefused))
        wait = None
        if not is_final and self._owner.may_redial:
            wait = self._redialling.wait_for(stream, began, self._loop.time())
        if wait is None:
            self._owner.give_up(stream)
        else:
            self._waiting.start(stream, wait, self._owner.place)
