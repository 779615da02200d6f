"""The accept loop: of the outer ports, and of those where a PT calls back."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from pt_bridge.net.sockets import is_prepared, prepare

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence
    from typing import Protocol

    class Timer(Protocol):
        """Something that will happen."""

        def cancel(self) -> None:
            """Keep it from happening."""

    CallLater = Callable[[float, Callable[[], None]], Timer]

ACCEPTS_AT_ONCE = 64
# How long accepting stops when the system cannot do it, for lack of descriptors or
# memory, or for a fault of the network (seconds).
PAUSE = 0.1


class Acceptor:
    """Accepts on listening sockets until it is closed, or told to pause.

    Who calls while it pauses waits in the system's backlog.

    Attributes:
        is_accepting: whether it accepts; not before the first `accept`.
        is_paused: whether it goes on by itself after a while.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        socks: Sequence[socket.socket],
        on_accepted: Callable[[socket.socket], None],
        *,
        has_room: Callable[[socket.socket], bool],
        on_shortage: Callable[[OSError], None] | None = None,
        on_all_in: Callable[[], None] | None = None,
        call_later: CallLater | None = None,
    ) -> None:
        """Create one that does not accept yet.

        Args:
            loop: the event loop.
            socks: listening sockets, which it owns from now on.
            on_accepted: gets each connection, prepared, and owns it.
            has_room: asked before each connection, with the socket where it may wait;
                where it has none, it may call `pause`.
            on_shortage: gets the system's error where it cannot accept; then there is
                a pause.
            on_all_in: called when all who waited are in.
            call_later: the clock; without it, the loop's own.
        """
        self._loop = loop
        self._socks: dict[socket.socket, tuple[int, int, int]] = {}
        for sock in socks:
            prepare(sock)
            self._socks[sock] = int(sock.family), int(sock.type), sock.proto
        # Those that pass their options on to what they accept. Linux does, but not to
        # who called before they were set; and another system may not.
        self._pass_on: set[socket.socket] = set()
        self._on_accepted = on_accepted
        self._has_room = has_room
        self._on_shortage = on_shortage
        self._on_all_in = on_all_in
        self._call_later: CallLater = call_later or loop.call_later
        self._resume: Timer | None = None
        self.is_accepting = False

    @property
    def is_paused(self) -> bool:
        """Whether it goes on by itself after a while."""
        return self._resume is not None

    def accept(self) -> None:
        """Begin to accept, or go on."""
        self._cancel()
        if not self.is_accepting:
            self.is_accepting = True
            for sock in self._socks:
                self._loop.add_reader(sock.fileno(), self._accept, sock)

    def pause(self, seconds: float | None = None) -> None:
        """Stop to accept, for so long, or until `accept` is called."""
        self._cancel()
        if self.is_accepting:
            self.is_accepting = False
            for sock in self._socks:
                self._loop.remove_reader(sock.fileno())
        if seconds is not None:
            self._resume = self._call_later(seconds, self.accept)

    def close(self) -> None:
        """Close the ports; safe to call again."""
        self.pause()
        for sock in self._socks:
            sock.close()

    def _cancel(self) -> None:
        if self._resume is not None:
            self._resume.cancel()
            self._resume = None

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(ACCEPTS_AT_ONCE):
            if not self._has_room(listening):
                return
            try:
                # Not `accept`, which takes as long again to name the socket's kind.
                descriptor, _ = listening._accept()  # type: ignore[attr-defined]
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                if self._on_all_in is not None:
                    self._on_all_in()
                return
            except OSError as error:  # what ends may give back what it takes
                self.pause(PAUSE)
                if self._on_shortage is not None:
                    self._on_shortage(error)
                return
            sock = socket.socket(*self._socks[listening], descriptor)
            try:
                self._prepare(sock, listening)
            except OSError:  # reset before we could look at it
                sock.close()
            else:
                self._on_accepted(sock)

    def _prepare(self, sock: socket.socket, listening: socket.socket) -> None:
        if listening in self._pass_on:
            sock.setblocking(False)
            return
        if is_prepared(sock):  # and so are all who come later
            self._pass_on.add(listening)
        prepare(sock)
