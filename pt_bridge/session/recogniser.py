"""Finding out whether a client speaks the session, without keeping one that does not.

The first byte that differs from the preface decides, and so does a preface that stays
partial. Of a client that says nothing it cannot be known: after a while the service is
reached for it, for it may be one that speaks first.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Protocol

from pt_bridge.net.sockets import reset
from pt_bridge.protocol.frames import PREFACE, Cause, Recognition, recognise
from pt_bridge.system.log import logger

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    OnReached = Callable[[socket.socket | Cause], None]
    Reach = Callable[[OnReached], None]

READ_SIZE = 16 * 1024
# How long a client may say nothing before the service is reached for it (seconds).
SILENT = 3.0
# How long a few bytes of a preface may wait for the rest (seconds).
PARTIAL = 5.0
# How long neither side may say anything once the service is reached (seconds): some
# PTs do not tell that the client has gone while nothing is written to it.
BOTH_SILENT = 300.0


class RecogniserOwner(Protocol):
    """Who is told what a connection speaks."""

    def on_session(
        self, recogniser: Recogniser, plain: socket.socket, rest: bytes
    ) -> None:
        """Take a connection whose preface was read, and what came behind it."""

    def on_plain(
        self,
        recogniser: Recogniser,
        plain: socket.socket,
        first: bytes,
        local: socket.socket | None,
    ) -> None:
        """Take a connection that speaks no session, and what was read of it."""

    def on_dropped(self, recogniser: Recogniser) -> None:
        """Forget a connection that was closed."""


class Recogniser:
    """Looks at one connection until it knows; owns its sockets until then."""

    __slots__ = (
        "_first",
        "_is_done",
        "_local",
        "_loop",
        "_owner",
        "_plain",
        "_reach",
        "_timer",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        plain: socket.socket,
        reach: Reach | None,
        owner: RecogniserOwner,
    ) -> None:
        """Begin to look.

        Args:
            loop: the event loop.
            plain: a connected, non-blocking socket.
            reach: begins to connect to the service, and calls back in any case; None
                where only a session is served, and nobody is waited for.
            owner: told what was found, from the loop and not from here.
        """
        self._loop = loop
        self._plain = plain
        self._reach = reach
        self._owner = owner
        self._first = b""
        self._local: socket.socket | None = None
        self._is_done = False
        self._timer = loop.call_later(SILENT, self._on_silent)
        loop.add_reader(plain.fileno(), self._read)

    def drop(self) -> None:
        """Close the connection, with a reset; safe to call again."""
        if self._is_done:
            return
        local = self._finish()
        for sock in (local, self._plain):
            if sock is not None:
                reset(sock)
        self._owner.on_dropped(self)

    def _read(self) -> None:
        try:
            data = self._plain.recv(READ_SIZE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self._on_end()
            return
        self._first += data
        match recognise(self._first):
            case Recognition.SESSION:
                local = self._finish()
                if local is not None:
                    reset(local)
                rest = self._first[len(PREFACE) :]
                self._owner.on_session(self, self._plain, rest)
            case Recognition.PLAIN:
                self._decide_for_plain()
            case Recognition.OTHER_VERSION:
                logger.debug("x a session of another version")
                self.drop()
            case Recognition.UNDECIDED:
                self._timer.cancel()
                self._timer = self._loop.call_later(PARTIAL, self._decide_for_plain)

    def _on_end(self) -> None:
        """Pass on what came before the end, which is no session's."""
        if self._first:
            self._decide_for_plain()
        else:
            self.drop()

    def _on_silent(self) -> None:
        """Reach the service, which may be one that speaks first, and look on."""
        if self._reach is None:
            self.drop()
        else:
            self._reach(self._on_reached)

    def _on_reached(self, reached: socket.socket | Cause) -> None:
        if isinstance(reached, Cause):
            self.drop()
        elif self._is_done:
            reset(reached)
        else:
            self._local = reached
            self._loop.add_reader(reached.fileno(), self._decide_for_plain)
            if not self._first:  # else the rest of a preface is waited for
                self._timer = self._loop.call_later(BOTH_SILENT, self.drop)

    def _decide_for_plain(self) -> None:
        local = self._finish()
        self._owner.on_plain(self, self._plain, self._first, local)

    def _finish(self) -> socket.socket | None:
        """Look no more; return the connection to the service, if there is one."""
        self._is_done = True
        self._timer.cancel()
        self._loop.remove_reader(self._plain.fileno())
        if self._local is not None:
            self._loop.remove_reader(self._local.fileno())
        return self._local
