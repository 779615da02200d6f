"""One way through a PT that is held at both ends: fed here, emptied there.

Whether all that the PT was fed has come out again is asked of the kernel, since both
legs of the PT's end on this machine:

* A PT that was told of the EOF, and has read that, has written all that came before:
  everything is through once nothing is left in the queues of the exit.
* One that must not be told yet may still hold some bytes that it has read. Everything
  is through when the queues at both ends are empty, and it does nothing at all: no
  thread runs, and none could. One that is so busy with other tunnels that it never
  rests has to do a good deal of work first, while they stay empty.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pt_bridge.connection import half_close, unread, unsent
from pt_bridge.pump import CopyPump, Drain
from pt_bridge.sock_diag import CLOSE_WAIT, ESTABLISHED, Missing, SockDiag, TcpSocket

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Callable

    from pt_bridge.manners import Manners
    from pt_bridge.protocol.closing import Way

# How long the queues must stay empty where the PT never rests, in seconds of its own
# CPU time, and how much more for each tunnel that it has: all of them may get their
# turns before the one that holds bytes (Go's scheduler may let it wait for 61 others).
BUSY_SETTLE, BUSY_SETTLE_EACH = 2.0, 0.02
# The same where the kernel does not tell, in seconds that have passed.
BLIND_SETTLE = 1.0
# How often to look at the queues: each wait is longer than the one before, and the
# first one comes again when bytes have moved (seconds).
FIRST_LOOK, LAST_LOOK, LONGER = 0.001, 0.05, 1.3
# The states of a leg that the PT has neither ended nor closed.
OPEN = frozenset({ESTABLISHED, CLOSE_WAIT})


class Legs(NamedTuple):
    """The four sockets that a way passes.

    Attributes:
        source: the outer one that is read from.
        entry: the PT's, into which that is written.
        exit: the PT's, from which it comes out.
        sink: the outer one into which that is written.
    """

    source: socket.socket
    entry: socket.socket
    exit: socket.socket
    sink: socket.socket


class Passage:
    """The legs of one way, and the pumps between them, which move bytes already.

    Attributes:
        way: which one it is.
        legs: its sockets; they stay the caller's.
        feed: the pump from the source into the PT.
        empty: the pump from the PT into the sink.
        source_has_ended: whether the source's EOF was read.
        is_told: whether the PT got that EOF.
        is_cut: whether nothing is moved any more.
    """

    __slots__ = (
        "_came_through",
        "_drains",
        "_is_telling",
        "_is_watching",
        "_loop",
        "_moved",
        "_must_read_other",
        "_pt",
        "_quiet_cpu",
        "_quiet_since",
        "_read_since",
        "_sock_diag",
        "_timer",
        "_told",
        "_wait",
        "empty",
        "feed",
        "is_cut",
        "is_told",
        "legs",
        "source_has_ended",
        "way",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        way: Way,
        legs: Legs,
        feed: CopyPump,
        empty: CopyPump,
        *,
        sock_diag: SockDiag,
        pt: Manners,
        told: Callable[[Passage], None],
        came_through: Callable[[Passage], None],
    ) -> None:
        """Take over a way.

        Args:
            loop: the event loop.
            way: which one it is.
            legs: its sockets.
            feed: the pump from the source into the PT.
            empty: the pump from the PT into the sink.
            sock_diag: tells of the PT's ends of the legs.
            pt: tells what the PT does.
            told: called once when the PT got the EOF, after `tell`.
            came_through: called once when all that was fed is written, after `watch`.
        """
        self.way = way
        self.legs = legs
        self.feed = feed
        self.empty = empty
        self.source_has_ended = False
        self.is_told = False
        self.is_cut = False
        self._loop = loop
        self._sock_diag = sock_diag
        self._pt = pt
        self._told = told
        self._came_through = came_through
        self._is_telling = False
        self._must_read_other = False
        self._read_since: float | None = None
        self._is_watching = False
        self._drains: list[Drain] = []
        self._timer: asyncio.TimerHandle | None = None
        self._wait = FIRST_LOOK
        self._moved = -1
        self._quiet_since: float | None = None
        self._quiet_cpu: float | None = None

    def tell(self, *, at_once: bool) -> None:
        """Give the PT the EOF, as soon as it has read all that came before.

        An EOF that meets bytes in the queue is counted as read with the last of them,
        and then nothing would show that it was.

        Args:
            at_once: else once it has read what it was fed on the other way, too: what
                it leaves unread when it closes makes that a reset.
        """
        self._is_telling = True
        self._must_read_other = not at_once
        self._look_now()

    def watch(self) -> None:
        """Find out when all that the PT was fed has been written to the sink."""
        self._is_watching = True
        self._look_now()

    def cut(self) -> None:
        """Feed the PT no more; throw away what still comes from the source and it."""
        self.is_cut = True
        self.feed.stop()
        self.empty.stop()
        self._stop_looking()
        self._drains = [Drain(self._loop, self.legs.exit, _do_nothing)]
        if not self.source_has_ended:
            self._drains.append(Drain(self._loop, self.legs.source, self._drained))

    def stop(self) -> None:
        """Touch no socket any more; safe to call again."""
        self.feed.stop()
        self.empty.stop()
        for drain in self._drains:
            drain.stop()
        self._drains = []
        self._stop_looking()

    def _drained(self) -> None:
        self.source_has_ended = True

    def _stop_looking(self) -> None:
        self._is_telling = self._is_watching = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_now(self) -> None:
        self._wait = FIRST_LOOK
        if self._timer is not None:
            self._timer.cancel()
        self._look()

    def _look(self) -> None:
        """See whether the time has come for what waits; else look again later."""
        self._timer = None
        if self._is_telling and self._may_tell():
            self._tell()
        if self._is_watching and self._is_through():
            self._stop_looking()
            self._came_through(self)
        elif self._is_telling or self._is_watching:
            self._timer = self._loop.call_later(self._wait, self._look)
            self._wait = min(LONGER * self._wait, LAST_LOOK)

    def _may_tell(self) -> bool:
        """Tell whether the PT had read everything, now and at an earlier look.

        A call that takes the last bytes may still take an EOF that comes meanwhile.
        """
        if (
            unsent(self.legs.entry)
            or self._has_unread(self.legs.entry)
            or (self._must_read_other and self._has_unread(self.legs.exit))
        ):
            self._read_since = None
            return False
        now = self._loop.time()
        if self._read_since is None:
            self._read_since = now
        return now - self._read_since >= FIRST_LOOK

    def _has_unread(self, leg: socket.socket) -> bool:
        peer = self._sock_diag.peer(leg)
        return isinstance(peer, TcpSocket) and peer.unread > 0

    def _tell(self) -> None:
        self._is_telling = False
        self.is_told = True
        half_close(self.legs.entry)
        self._told(self)

    def _is_through(self) -> bool:
        # In the order in which bytes pass: what has left one queue is in the next.
        before_pt = unsent(self.legs.entry)
        entry = self._sock_diag.peer(self.legs.entry)
        exit_ = self._sock_diag.peer(self.legs.exit)
        after_pt = unread(self.legs.exit) or self.empty.is_blocked
        if after_pt or self._has_moved():
            self._quiet_since = None
            return False
        if Missing.UNKNOWN in (entry, exit_):
            return self._was_quiet_for(BLIND_SETTLE)
        if not (isinstance(entry, TcpSocket) and isinstance(exit_, TcpSocket)):
            return False  # the PT has closed a leg, which its pump will tell
        if self.is_told:
            has_read = entry.state == CLOSE_WAIT and not entry.unread
            return has_read and not exit_.unsent
        if not OPEN.issuperset((entry.state, exit_.state)):
            return False  # likewise
        if before_pt or entry.unread or exit_.unsent:
            self._quiet_since = None
            return False
        # What it still held when we looked at the exit has come out since.
        return self._holds_nothing() and not self._comes_out()

    def _comes_out(self) -> bool:
        """Tell whether the PT has written what is not in the sink yet."""
        exit_ = self._sock_diag.peer(self.legs.exit)
        if not isinstance(exit_, TcpSocket) or exit_.unsent:
            return True
        return unread(self.legs.exit) > 0 or self.empty.is_blocked or self._has_moved()

    def _has_moved(self) -> bool:
        before, self._moved = self._moved, self.empty.moved
        if before == self._moved:
            return False
        self._wait = FIRST_LOOK
        return True

    def _was_quiet_for(self, seconds: float) -> bool:
        now = self._loop.time()
        if self._quiet_since is None:
            self._quiet_since = now
            self._quiet_cpu = self._pt.cpu_time()
        return now - self._quiet_since >= seconds

    def _holds_nothing(self) -> bool:
        """Tell, while the queues are empty, whether the PT can hold no bytes."""
        was_long = self._was_quiet_for(BLIND_SETTLE)
        before, is_asleep = self._pt.cpu_time(), self._pt.is_asleep()
        if before is None or self._quiet_cpu is None or is_asleep is None:
            return was_long
        # A thread that ran before we looked at it, and not any more, has been counted.
        if is_asleep and self._pt.cpu_time() == before:
            return True
        settle = BUSY_SETTLE + BUSY_SETTLE_EACH * self._pt.tunnels
        return before - self._quiet_cpu >= settle


def _do_nothing() -> None:
    pass
