"""The outer ports: accept, and park what comes before it can be carried on."""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING

from pt_bridge.listen.acceptor import Acceptor
from pt_bridge.net.sockets import is_dead, is_readable, reset
from pt_bridge.net.time_limit import TimeLimit

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

# How long a connection may be silent before it is taken for one that waits for the
# server to speak first (seconds).
FIRST_BYTE_PATIENCE = 0.25
MAX_WAITING = 1024
# How often to ask whether somebody may be ended for those who wait (seconds).
FULL_PAUSE = 1.0
OUT_OF_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE})


class Listener:
    """Accepts on the outer port, or on several, for as long as its block lasts.

    A connection waits for its first byte, or for 250 ms: shadowsocks tests a plugin
    with connections that never carry anything, and those must not reach the network.
    One that hangs up before that is dropped. All wait until `open` is called, at most
    1,024, and none for longer than a limit; then each is delivered as it becomes due.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        socks: Sequence[socket.socket],
        deliver: Callable[[socket.socket], None],
        complain: Callable[[str], None],
        *,
        budget: int,
        patience: float,
        first_byte_patience: float = FIRST_BYTE_PATIENCE,
        on_full: Callable[[], bool] | None = None,
        clock: asyncio.AbstractEventLoop | None = None,
        accepts_early: bool = True,
    ) -> None:
        """Create a listener; entering its block starts it.

        Args:
            loop: the event loop.
            socks: listening sockets, which it owns from now on.
            deliver: gets each connection that is due, and owns it.
            complain: gets a sentence for the log when accepting pauses.
            budget: how many connections may be parked or delivered at once; `release`
                gives one back.
            patience: how long a connection that is due may wait for `open`, in
                seconds; then it is reset.
            first_byte_patience: how long a connection may be silent before it is due,
                in seconds; with 0 it is due as soon as it is accepted.
            on_full: called where the budget is spent and somebody new waits; returns
                whether it has ended a connection, and released its place.
            clock: the loop by whose time limits are watched; without it, `loop`.
            accepts_early: whether to accept before `open` is called for the first time;
                not where another listener has the same ports until then.
        """
        self._loop = loop
        self._accepts_early = accepts_early
        self._deliver = deliver
        self._complain = complain
        self._on_full = on_full
        self._budget = budget
        clock = clock or loop
        self._acceptor = Acceptor(
            loop,
            socks,
            self._keep_waiting,
            has_room=self._has_room,
            on_shortage=self._tell_of_shortage,
            on_all_in=self._forget_complaint,
            call_later=clock.call_later,
        )
        self._patience = TimeLimit(clock, patience)
        self._first_byte_patience = TimeLimit(clock, first_byte_patience)
        self._takes_the_silent = not first_byte_patience
        self._waiting: dict[_Waiting, None] = {}
        self._delivered = 0
        self._open = False
        self._complained = False
        self._closed = False
        self._is_full = False

    def __enter__(self) -> Listener:
        if self._accepts_early:
            self._accept_more()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the ports, and reset what is still parked; safe to call again."""
        self.stop_accepting()
        for waiting in list(self._waiting):
            waiting.drop()
        self._patience.close()
        self._first_byte_patience.close()

    def stop_accepting(self) -> None:
        """Close the ports; what is parked is delivered when it is due."""
        self._closed = True
        self._acceptor.close()

    def open(self) -> None:
        """Deliver what is due, and from now on everything that becomes due."""
        self._open = True
        if not self._accepts_early:
            self._accepts_early = True
            self._accept_more()
        for waiting in [each for each in self._waiting if each.is_ready]:
            waiting.take()

    @property
    def number_waiting(self) -> int:
        """How many connections are parked."""
        return len(self._waiting)

    @property
    def is_open(self) -> bool:
        """Whether connections are delivered."""
        return self._open

    def suspend(self) -> None:
        """Deliver nothing until `open` is called again."""
        self._open = False

    def release(self) -> None:
        """Free the place of a connection that was delivered."""
        self._delivered -= 1
        self._room_was_made()

    def take_back(self, sock: socket.socket) -> None:
        """Park a connection again that was delivered, if nothing was read of it."""
        self._delivered -= 1
        if self._closed:
            reset(sock)
        else:
            self._keep_waiting(sock)

    def _room_was_made(self) -> None:
        has_to_wait = self._acceptor.is_paused and not self._is_full
        if not (self._acceptor.is_accepting or self._closed or has_to_wait):
            self._accept_more()

    def _accept_more(self) -> None:
        self._is_full = False
        self._acceptor.accept()

    def _has_room(self, listening: socket.socket) -> bool:
        """Whether one who waits may come in; else wait until one ends."""
        if self._delivered + len(self._waiting) < self._budget:
            self._is_full = False
            return True
        if self._on_full is not None:
            if not is_readable(listening):
                return False  # nobody is to be ended for nobody
            if self._on_full():
                return True  # it has released a place
        self._is_full = True
        self._acceptor.pause(None if self._on_full is None else FULL_PAUSE)
        self._say(
            f"{self._budget} connections are open, all that the limit of open files "
            f"allows: new ones wait until one ends"
        )
        return False

    def _tell_of_shortage(self, error: OSError) -> None:
        why = os.strerror(error.errno or 0).lower()
        if error.errno in OUT_OF_DESCRIPTORS:
            why = f"{why}; raise the limit of open files (LimitNOFILE=)"
        self._say(f"no connection can be accepted now: {why}")

    def _forget_complaint(self) -> None:
        self._complained = False

    def _say(self, text: str) -> None:
        """Complain once, until all who have to wait are in."""
        if not self._complained:
            self._complained = True
            self._complain(text)

    def _keep_waiting(self, sock: socket.socket) -> None:
        """Deliver one that is due already, or park it."""
        try:
            is_due = self._open and (self._takes_the_silent or _has_spoken(sock))
        except OSError:
            sock.close()
            return
        if is_due:
            self._delivered += 1
            self._deliver(sock)
            return
        if len(self._waiting) >= MAX_WAITING:
            self._make_room(next(iter(self._waiting)))
        waiting = _Waiting(self, sock)
        self._waiting[waiting] = None

    def _make_room(self, oldest: _Waiting) -> None:
        """Deliver the oldest, or reset it; so many are no test of a plugin."""
        if self._open:
            oldest.take()
        else:
            oldest.drop()
            self._say(f"more than {MAX_WAITING} connections wait: the oldest are reset")


class _Waiting:
    """A connection that has not been delivered yet."""

    __slots__ = ("_heard", "_limit", "_listener", "_sock", "is_ready")

    def __init__(self, listener: Listener, sock: socket.socket) -> None:
        self._listener = listener
        self._sock = sock
        self._heard = False
        self.is_ready = listener._takes_the_silent
        listener._loop.add_reader(sock.fileno(), self._look)
        if self.is_ready:
            self._limit = listener._patience
            self._limit.start(self, self.drop)
        else:
            self._limit = listener._first_byte_patience
            self._limit.start(self, self._become_ready)

    def _look(self) -> None:
        """Something came: the first bytes, or the end."""
        try:
            if not _has_spoken(self._sock):
                return
        except OSError:
            self._leave()
            self._sock.close()
            self._listener._room_was_made()
            return
        # It would be told again and again as long as nobody reads it.
        self._heard = True
        self._listener._loop.remove_reader(self._sock.fileno())
        self._become_ready()

    def _become_ready(self) -> None:
        self._limit.stop(self)
        self.is_ready = True
        listener = self._listener
        if listener._open:
            self.take()
        else:
            self._limit = listener._patience
            self._limit.start(self, self.drop)

    def take(self) -> None:
        """Deliver the connection, unless it was reset in the meantime."""
        if is_dead(self._sock):
            self.drop()
            return
        self._leave()
        self._listener._delivered += 1
        self._listener._deliver(self._sock)

    def drop(self) -> None:
        """Reset the connection."""
        self._leave()
        reset(self._sock)
        self._listener._room_was_made()

    def _leave(self) -> None:
        self._limit.stop(self)
        if not self._heard:
            self._listener._loop.remove_reader(self._sock.fileno())
        del self._listener._waiting[self]


def _has_spoken(sock: socket.socket) -> bool:
    """Whether its first byte is there; nothing is read.

    Raises:
        OSError: it has hung up, or was reset.
    """
    try:
        first = sock.recv(1, socket.MSG_PEEK)
    except (BlockingIOError, InterruptedError):
        return False
    if not first or is_dead(sock):
        raise ConnectionResetError
    return True
