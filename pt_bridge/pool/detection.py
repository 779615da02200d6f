"""Finding out, once a run, whether the server speaks the session (session=auto).

The first stream of a run is carried as a session's, on two connections one after the
other under the same id, so that a server that speaks it is not mistaken. If both meet
something else - other bytes, an end, silence - what was kept goes once more, plain, and
an answer to that decides. Until then the other streams wait, so that a server without a
session sees no more than two connections that it cannot read; but where the answer is
long in coming, the next one finds out anew. A server that cannot be reached decides
nothing.

Where several ways lead to servers of their own, each is judged by itself, by the first
stream that comes to it; one that is known goes on meanwhile.
"""

from __future__ import annotations

from enum import Enum
from functools import partial
from typing import TYPE_CHECKING

from pt_bridge.net.sockets import reset
from pt_bridge.system.log import logger

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Callable, Hashable
    from typing import Protocol

    from pt_bridge.session.connection import SessionConnection
    from pt_bridge.session.stream import Stream

    class CarryPlain(Protocol):
        """Carries a local connection through the PT without a session."""

        def __call__(
            self,
            local: socket.socket,
            first: bytes = b"",
            *,
            way: object = None,
            plain: socket.socket | None = None,
            on_answer: Callable[[], None] | None = None,
            on_unanswered: Callable[[], None] | None = None,
        ) -> None:
            """Own the connection.

            Args:
                local: the connection of shadowsocks's.
                first: what was read of it.
                way: by which way to reach the server; None for any.
                plain: a connection through the PT by this way, to be owned, too; or
                    None where one has to be made.
                on_answer: called at the first byte from the server.
                on_unanswered: called if it ends without one.
            """

    class Place(Protocol):
        """Gives a stream a PT connection."""

        def __call__(self, stream: Stream, *, fresh: bool = False) -> None:
            """Use one that is ready, unless it has to be a fresh one."""


# How long each of the two connections may say nothing: a user waits for both. So many
# seconds, or so many times what the PT took to reach the server.
ACCEPT_LIMIT, ACCEPT_TIMES = 2.5, 3.0
CONNECTIONS = 2
# How long the others wait for an answer to the plain connection (seconds): the service
# may have none for it, ever, and that says nothing of the server.
ANSWER_LIMIT = 5.0


class Found(Enum):
    """What is known of a server."""

    NOTHING = "no connection has had an answer yet"
    SESSION = "it speaks the session"
    PLAIN = "it answers, and speaks no session"


class Detection:
    """Lets one stream find out, and the others wait for that."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        carry_plain: CarryPlain,
        place: Place,
        forget: Callable[[Stream], None],
        server_of: Callable[[object], Hashable] = lambda way: None,
    ) -> None:
        """Begin with knowing nothing.

        Args:
            loop: the event loop.
            carry_plain: carries a local connection without a session.
            place: carries a stream as a session's.
            forget: called for a stream that is carried plain from now on.
            server_of: tells which server a way leads to; None where there is one.
        """
        self._loop = loop
        self._carry_plain = carry_plain
        self._place = place
        self._forget = forget
        self._server_of = server_of
        self._found: dict[Hashable, Found] = {}
        # The stream that finds out, of which server, and on how many connections it
        # has met something else.
        self._first: Stream | None = None
        self._server: Hashable = None
        self._failed = 0
        # The timer of the plain connection whose answer the others wait for.
        self._plain: asyncio.TimerHandle | None = None
        self._waiting: list[Stream] = []

    @property
    def knows_nothing(self) -> bool:
        """Whether nothing is known of any server yet."""
        return not self._found

    @property
    def has_session(self) -> bool:
        """Whether some server is known to speak the session."""
        return Found.SESSION in self._found.values()

    def found(self, way: object) -> Found:
        """Return what is known of the server that a way leads to."""
        return self._found.get(self._server_of(way), Found.NOTHING)

    def accept_limit(self, took: float) -> float:
        """Return how long a server may say nothing of which nothing is known (seconds).

        Args:
            took: the seconds that it took to reach the server.
        """
        return max(ACCEPT_LIMIT, ACCEPT_TIMES * took)

    def begin(self, stream: Stream) -> None:
        """Carry a stream, or let it wait for one that finds out how."""
        if self._found:
            self._place(stream)
        elif not self._is_busy:
            self._first, self._failed = stream, 0
            self._place(stream)
        else:
            self._waiting.append(stream)

    @property
    def _is_busy(self) -> bool:
        """Whether a stream is finding out."""
        return self._first is not None or self._plain is not None

    def takes(self, stream: Stream, got: socket.socket, way: object) -> bool:
        """Return whether a session is to be opened on a new connection for a stream.

        If not, the connection is ours, and the stream, unless it has one already.
        """
        found = self.found(way)
        if stream.connection is not None:  # this is one beside it
            if found is Found.PLAIN:
                reset(got)
            return found is not Found.PLAIN
        if found is not Found.NOTHING:
            is_first = stream is self._first
            if found is Found.PLAIN:
                self._go_plain(stream, way, got)
            if is_first:  # it has come by another way than before
                self._first = None
                self._begin_waiting()
            return found is Found.SESSION
        if stream is not self._first and self._is_busy:
            reset(got)
            self._waiting.append(stream)
            return False
        server = self._server_of(way)
        if stream is not self._first or server != self._server:
            self._first, self._server, self._failed = stream, server, 0
        return True

    def on_session(self, way: object) -> None:
        """Note that the server that a way leads to speaks the session."""
        if self.found(way) is not Found.SESSION:
            self._decide(self._server_of(way), Found.SESSION)

    def is_told_by(self, stream: Stream, connection: SessionConnection) -> bool:
        """Whether the end of a stream's connection tells something of the server."""
        is_about = stream is self._first or self.found(connection.way) is Found.PLAIN
        return is_about and not connection.is_understood

    def on_lost(self, stream: Stream, way: object) -> None:
        """Go on with a stream whose connection met something else than a session."""
        if self.found(way) is Found.PLAIN:  # an answer came late, to one before
            self._go_plain(stream, way)
            return
        self._failed += 1
        if self._failed < CONNECTIONS:
            self._place(stream, fresh=True)
            return
        self._first = None
        self._try_plain(stream, way)

    def on_unreachable(self, stream: Stream) -> None:
        """Reset those who wait for a stream that reached no server: nor would they."""
        if stream is self._first and self.knows_nothing:
            waiting, self._waiting = self._waiting, []
            for each in waiting:
                each.cut()

    def on_ended(self, stream: Stream) -> None:
        """Let the next stream find out, if this one ended before it has."""
        if stream in self._waiting:
            self._waiting.remove(stream)
        if stream is self._first:
            self._first = None
            self._begin_waiting()

    def stop(self) -> None:
        """Wait for no answer any more; safe to call again."""
        if self._plain is not None:
            self._plain.cancel()
            self._plain = None

    def _go_plain(
        self, stream: Stream, way: object, got: socket.socket | None = None
    ) -> None:
        first = bytes(stream.kept or b"")
        self._carry_plain(self._release(stream), first, way=way, plain=got)

    def _try_plain(self, stream: Stream, way: object) -> None:
        """Carry a stream plain, and see whether it has an answer."""
        first = bytes(stream.kept or b"")
        plain = self._loop.call_later(ANSWER_LIMIT, self._wait_no_more)
        self._plain = plain
        self._carry_plain(
            self._release(stream),
            first,
            way=way,
            on_answer=partial(self._on_answer, way),
            on_unanswered=partial(self._on_unanswered, plain),
        )

    def _release(self, stream: Stream) -> socket.socket:
        local = stream.release_local()
        self._forget(stream)
        return local

    def _on_answer(self, way: object) -> None:
        if self.found(way) is Found.NOTHING:
            server = self._server_of(way)
            which = "the server" if server is None else f"the server of way {server}"
            logger.info(
                "%s speaks no session: connections are carried plain (session=0 saves "
                "the detour)",
                which,
            )
            self._decide(server, Found.PLAIN)

    def _on_unanswered(self, plain: asyncio.TimerHandle) -> None:
        if plain is self._plain:
            self._wait_no_more()

    def _wait_no_more(self) -> None:
        """Let the next stream find out; an answer that comes late still decides."""
        self.stop()
        self._begin_waiting()

    def _begin_waiting(self) -> None:
        """Carry those who wait, or let the next one find out if nothing is known."""
        number = len(self._waiting) if self._found else 1
        waiting, self._waiting = self._waiting[:number], self._waiting[number:]
        for stream in waiting:
            self.begin(stream)

    def _decide(self, server: Hashable, found: Found) -> None:
        self._found[server] = found
        if server == self._server:
            self.stop()
            self._first = None
        self._begin_waiting()
