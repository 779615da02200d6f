"""The outer ports: accept, and park what comes before it can be carried on."""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING

from pt_bridge.connection import is_dead, prepare, reset

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence
    from types import TracebackType
    from typing import Protocol

    class Timer(Protocol):
        """Something that will happen."""

        def cancel(self) -> None:
            """Let it not happen."""

    CallLater = Callable[[float, Callable[[], None]], Timer]

# How long a connection may be silent before it is taken for one that waits for the
# server to speak first (seconds).
FIRST_BYTE_PATIENCE = 0.25
MAX_PARKED = 1024
ACCEPTS_AT_ONCE = 64
# How long accepting stops when the system cannot do it, for lack of descriptors or
# memory, or for a fault of the network (seconds).
PAUSE = 0.1
OUT_OF_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE})


class Listener:
    """Accepts on the outer port, or on several, for as long as its block lasts.

    A connection is parked until its first byte, or for 250 ms: hosts test a plugin with
    connections that never carry anything, and those must not reach the network. One
    that hangs up before that is dropped. All wait until `open` is called, at most
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
        call_later: CallLater | None = None,
    ) -> None:
        """Make a listener; entering its block starts it.

        Args:
            loop: the event loop.
            socks: listening sockets, which it owns from now on.
            deliver: gets each connection that is due, and owns it.
            complain: gets a sentence for the log when accepting pauses.
            budget: how many connections may be parked or delivered at once; `release`
                gives one back.
            patience: how long a connection that is due may wait for `open`, in
                seconds; then it is reset.
            call_later: the clock; without it, the loop's own.
        """
        self._loop = loop
        for sock in socks:
            sock.setblocking(False)
        self._socks = tuple(socks)
        self._deliver = deliver
        self._complain = complain
        self._budget = budget
        self._call_later: CallLater = call_later or loop.call_later
        self._patience = patience
        self._parked: dict[_Parked, None] = {}
        self._delivered = 0
        self._open = False
        self._accepting = False
        self._resume: Timer | None = None
        self._complained = False
        self._closed = False

    def __enter__(self) -> Listener:
        self._accept_more()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the ports, and reset what is still parked; safe to call again."""
        self._closed = True
        self._pause()
        for sock in self._socks:
            sock.close()
        for parked in list(self._parked):
            parked.drop()

    def open(self) -> None:
        """Deliver what is due, and from now on everything that becomes due."""
        self._open = True
        for parked in [each for each in self._parked if each.is_due]:
            parked.take()

    @property
    def is_open(self) -> bool:
        """Whether connections are delivered."""
        return self._open

    def park(self) -> None:
        """Deliver nothing until `open` is called again."""
        self._open = False

    def release(self) -> None:
        """Give back the place of a connection that was delivered."""
        self._delivered -= 1
        self._room_was_made()

    def take_back(self, sock: socket.socket) -> None:
        """Park a connection again that was delivered, if nothing was read of it."""
        self._delivered -= 1
        if self._closed:
            reset(sock)
        else:
            self._park(sock)

    def _room_was_made(self) -> None:
        if not self._accepting and self._resume is None and not self._closed:
            self._accept_more()

    def _accept_more(self) -> None:
        self._resume = None
        self._accepting = True
        for sock in self._socks:
            self._loop.add_reader(sock.fileno(), self._accept, sock)

    def _pause(self) -> None:
        if self._resume is not None:
            self._resume.cancel()
            self._resume = None
        if self._accepting:
            self._accepting = False
            for sock in self._socks:
                self._loop.remove_reader(sock.fileno())

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(ACCEPTS_AT_ONCE):
            if self._delivered + len(self._parked) >= self._budget:
                self._pause()
                self._say(
                    f"{self._budget} connections are open, all that the limit of open "
                    f"files allows: new ones wait until one ends"
                )
                return
            try:
                sock, _ = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                self._complained = False  # all who waited are in
                return
            except OSError as error:
                self._pause()
                self._resume = self._call_later(PAUSE, self._accept_more)
                why = os.strerror(error.errno or 0).lower()
                if error.errno in OUT_OF_DESCRIPTORS:
                    why = f"{why}; raise the limit of open files (LimitNOFILE=)"
                self._say(f"no connection can be accepted now: {why}")
                return
            self._park(sock)

    def _say(self, text: str) -> None:
        """Complain once, until all who have to wait are in."""
        if not self._complained:
            self._complained = True
            self._complain(text)

    def _park(self, sock: socket.socket) -> None:
        try:
            prepare(sock)
        except OSError:  # reset before we could look at it
            sock.close()
            return
        if len(self._parked) >= MAX_PARKED:
            self._make_room(next(iter(self._parked)))
        parked = _Parked(self, sock)
        self._parked[parked] = None

    def _make_room(self, oldest: _Parked) -> None:
        """Let the oldest go on, or go; so many are no host that tests a plugin."""
        if self._open:
            oldest.take()
        else:
            oldest.drop()
            self._say(f"more than {MAX_PARKED} connections wait: the oldest are reset")


class _Parked:
    """A connection that has not been delivered yet."""

    __slots__ = ("_heard", "_listener", "_sock", "_timer", "is_due")

    def __init__(self, listener: Listener, sock: socket.socket) -> None:
        self._listener = listener
        self._sock = sock
        self._heard = False
        self.is_due = False
        loop = listener._loop
        loop.add_reader(sock.fileno(), self._look)
        self._timer = listener._call_later(FIRST_BYTE_PATIENCE, self._become_due)

    def _look(self) -> None:
        """Something came: the first bytes, or the end."""
        try:
            first = self._sock.recv(1, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            first = b""
        if not first:
            self._leave()
            self._sock.close()
            self._listener._room_was_made()
            return
        # It would be told again and again as long as nobody reads it.
        self._heard = True
        self._listener._loop.remove_reader(self._sock.fileno())
        self._become_due()

    def _become_due(self) -> None:
        self._timer.cancel()
        self.is_due = True
        listener = self._listener
        if listener._open:
            self.take()
        else:
            self._timer = listener._call_later(listener._patience, self.drop)

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
        self._timer.cancel()
        if not self._heard:
            self._listener._loop.remove_reader(self._sock.fileno())
        del self._listener._parked[self]
