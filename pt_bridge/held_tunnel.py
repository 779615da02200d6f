"""One tunnel whose PT is held at both ends: four legs, and how they end.

::

    host ── near ── pt-bridge ── plain ── PT ── wire ── pt-bridge ── net ── Internet

The rules are those of `pt_bridge.protocol.closing`; they are carried out here, and in
the two ways through the tunnel (`pt_bridge.passage`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pt_bridge.connection import half_close, reset, unsent
from pt_bridge.farewell import Farewell
from pt_bridge.passage import Legs, Passage
from pt_bridge.protocol.closing import Closing, State, Step, Way
from pt_bridge.pump import CopyPump, End
from pt_bridge.sock_diag import ESTABLISHED, SockDiag, TcpSocket
from pt_bridge.tunnel import BLIND_LINGER, LINGER

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Callable

    from pt_bridge.manners import Manners
    from pt_bridge.protocol.closing import Steps
    from pt_bridge.pump import PumpMaker
    from pt_bridge.wire import Wire

# How long a tunnel may stand still whose host, or other side, is gone (seconds).
LOST_LIMIT = 10.0
# A host may half-close first and close for good a moment later, and nothing tells us of
# that: when it is looked at again for the first time. Each wait is twice the one before
# (seconds).
FIRST_LOOK_AT_HOST = 0.01
# How long a PT that has read an EOF may take to close its other leg, if it is of the
# kind that does (seconds).
MANNERS_PATIENCE = 0.1


class _Ways(NamedTuple):
    """Both ways through a tunnel, and how it ends."""

    closing: Closing
    out: Passage
    inward: Passage


class HeldTunnel:
    """Four connected sockets that are joined until they end.

    It owns them and closes them in every case.
    """

    __slots__ = (
        "_down",
        "_ended",
        "_farewells",
        "_host_is_alive",
        "_idle",
        "_linger",
        "_look",
        "_loop",
        "_manners",
        "_near",
        "_plain",
        "_seen",
        "_sock_diag",
        "_timer",
        "_up",
        "_ways",
        "_wire",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        near: socket.socket,
        plain: socket.socket,
        wire: Wire,
        *,
        linger: float | None,
        idle: float | None,
        manners: Manners,
        ended: Callable[[HeldTunnel], None],
        sock_diag: SockDiag,
        pump: PumpMaker = CopyPump,
    ) -> None:
        """Join all four and start to move bytes.

        Args:
            loop: the event loop.
            near: the connection to the host, non-blocking.
            plain: the connection to the PT on the host's side, non-blocking.
            wire: the other side of the PT.
            linger: seconds that a half-closed tunnel may be silent, or None for what is
                usual.
            idle: seconds that any may be silent, or None for no limit.
            manners: what is known of the PT; more may be learnt from this tunnel.
            ended: called once, when all sockets are closed.
            sock_diag: tells of the other ends of the connections on this machine.
            pump: makes the pumps, one for each direction.
        """
        self._loop = loop
        self._linger = linger
        self._idle = idle
        self._manners = manners
        self._ended = ended
        manners.tunnels += 1
        self._sock_diag = sock_diag
        self._near = near
        self._plain = plain
        self._wire = wire
        self._ways: _Ways | None = None
        self._host_is_alive = False
        self._seen = -1
        self._farewells: set[Farewell] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._look: asyncio.TimerHandle | None = None
        self._up = pump(loop, near, plain, self._out_fed)
        self._down = pump(loop, plain, near, self._in_emptied)
        wire.join(emptied=self._out_emptied, fed=self._in_fed)
        self._up.start()
        self._down.start()
        if idle is not None:
            self._timer = loop.call_later(idle, self._check_silence)
        if wire.net_has_ended:
            # Not at once: it may be the end of the tunnel, which nobody has yet.
            loop.call_soon(self._net_had_ended)

    def _begin_to_end(self) -> _Ways:
        """Make what only the end of a tunnel needs: most are idle most of the time."""
        if self._ways is None:
            near, plain, wire = self._near, self._plain, self._wire
            outward = Legs(near, plain, wire.leg, wire.net)
            inward = Legs(wire.net, wire.leg, plain, near)
            self._ways = _Ways(
                Closing(),
                self._passage(Way.OUT, outward, self._up, wire.out),
                self._passage(Way.IN, inward, wire.inward, self._down),
            )
        return self._ways

    def _passage(
        self, way: Way, legs: Legs, feed: CopyPump, empty: CopyPump
    ) -> Passage:
        return Passage(
            self._loop,
            way,
            legs,
            feed,
            empty,
            sock_diag=self._sock_diag,
            pt=self._manners,
            told=self._pt_was_told,
            came_through=self._came_through,
        )

    @property
    def _closing(self) -> Closing:
        return self._begin_to_end().closing

    @property
    def _out(self) -> Passage:
        return self._begin_to_end().out

    @property
    def _in(self) -> Passage:
        return self._begin_to_end().inward

    @property
    def moved(self) -> int:
        """The bytes of the host's that went through, in both directions."""
        return self._up.moved + self._down.moved

    def reset(self) -> None:
        """Reset all four legs."""
        self._stop()
        for farewell in self._farewells or ():
            farewell.reset()
        self._farewells = set()
        for passage in (self._out, self._in):
            reset(passage.legs.entry)
            reset(passage.legs.sink)
        self._over()

    def pt_died(self) -> None:
        """Reset the outer legs, save one that is only to take what it was sent."""
        self._stop()
        self._leave_pt()
        if self._farewells is not None:
            self._end_if_left()
            return
        leaving = set()
        for passage in (self._out, self._in):
            is_done = self._closing.state(passage.way) is State.DONE
            if is_done and not passage.is_cut:
                leaving.add(passage.legs.sink)
            else:
                reset(passage.legs.sink)
        self._say_farewell(leaving)

    # -- what the pumps tell -----------------------------------------------------------

    def _net_had_ended(self) -> None:
        if not self._is_leaving:
            self._in_fed(End.EOF)

    def _out_fed(self, how: End) -> None:
        self._was_fed(self._out, how)

    def _in_fed(self, how: End) -> None:
        self._was_fed(self._in, how)

    def _out_emptied(self, how: End) -> None:
        self._was_emptied(self._out, how)

    def _in_emptied(self, how: End) -> None:
        self._was_emptied(self._in, how)

    def _was_fed(self, passage: Passage, how: End) -> None:
        """The pump from the source into the PT has ended."""
        match how:
            case End.EOF:
                passage.source_has_ended = True
                keeps = self._manners.keeps is True
                self._do(self._closing.ended(passage.way, keeps=keeps))
                if passage is self._out:
                    self._look_at_host(FIRST_LOOK_AT_HOST)
                self._check_silence()
            case End.SOURCE_RESET:
                self.reset()
            case _:
                self._pt_failed(passage)

    def _was_emptied(self, passage: Passage, how: End) -> None:
        """The pump from the PT into the sink has ended."""
        match how:
            case End.EOF if self._manners.is_ending():
                self.pt_died()
            case End.EOF:
                if self._in.is_cut and passage.is_told:
                    self._manners.keeps = False
                self._do(self._closing.exit_ended(passage.way))
            case End.SOURCE_RESET:
                self._pt_failed(passage)
            case End.SINK_CLOSED if self._closing.state(passage.way) is State.DONE:
                self.reset()  # more has come behind what we took for all
            case End.SINK_CLOSED:
                self._do(self._closing.sink_lost(passage.way))
                self._check_silence()
            case End.SINK_RESET:
                self.reset()

    def _pt_failed(self, passage: Passage) -> None:
        if self._manners.is_ending():
            self.pt_died()
        else:
            self._do(self._closing.pt_failed(passage.way))

    # -- what the ways tell ------------------------------------------------------------

    def _pt_was_told(self, passage: Passage) -> None:
        self._closing.told(passage.way)

    def _came_through(self, passage: Passage) -> None:
        self._do(self._closing.came_through(passage.way))

    def _do(self, steps: Steps) -> None:
        for step, way in steps:
            passage = self._out if way is Way.OUT else self._in
            match step:
                case Step.TELL:
                    passage.tell(at_once=self._manners.keeps is True)
                case Step.WATCH:
                    passage.watch()
                case Step.END:
                    half_close(passage.legs.sink)
                case Step.CUT:
                    passage.cut()
                case Step.CLOSE:
                    self._finish()
                case Step.RESET:
                    # It has closed both, though it was told of one.
                    self._manners.keeps = False
                    self.reset()

    # -- what nobody tells -------------------------------------------------------------

    def _look_at_host(self, wait: float) -> None:
        """See whether the host, which has sent its EOF, has closed for good."""
        self._look = None
        if self._is_leaving or self._in.is_cut:
            return
        match self._sock_diag.peer_has_closed(self._out.legs.source):
            case True:
                self._do(self._closing.sink_lost(Way.IN))
                self._check_silence()
            case False:
                self._host_is_alive = True
                self._look = self._loop.call_later(wait, self._look_at_host, 2 * wait)

    @property
    def _limit(self) -> float | None:
        """How long the tunnel may be silent now, in seconds."""
        if self._ways is None or not self._closing.has_begun:
            return self._idle
        if self._out.is_cut or self._in.is_cut:
            return LOST_LIMIT
        if self._linger is not None:
            return self._linger
        is_known = self._host_is_alive or not self._out.source_has_ended
        return LINGER if is_known else BLIND_LINGER

    def _check_silence(self) -> None:
        """End a tunnel that was silent for too long, or look again later."""
        limit = self._limit
        if self._is_leaving or limit is None:
            return
        self._cancel(self._timer)
        pumps = (self._up, self._down, self._wire.out, self._wire.inward)
        silent = self._loop.time() - max(pump.last for pump in pumps)
        if self._ways is not None and self._closing.has_begun:
            ways = (self._out, self._in)
            waiting = sum(unsent(way.legs.sink) for way in ways)
            taken = sum(pump.moved for pump in pumps) - waiting
            is_slow = waiting or any(way.empty.is_blocked for way in ways)
            is_lost = any(way.is_cut for way in ways)
            if taken != self._seen >= 0 or (is_slow and not is_lost):
                silent = 0.0
            self._seen = taken
        if silent < limit:
            self._timer = self._loop.call_later(limit - silent, self._check_silence)
        else:
            self.reset()

    # -- the end -----------------------------------------------------------------------

    @property
    def _is_leaving(self) -> bool:
        return self._farewells is not None

    def _finish(self) -> None:
        """Both ways are done: close the outer legs, and the PT's."""
        self._stop()
        if self._manners.keeps is None and self._in.is_cut and self._out.is_told:
            self._timer = self._loop.call_later(MANNERS_PATIENCE, self._learn_manners)
        else:
            self._leave_pt()
        leaving = set()
        for way, other in ((self._out, self._in), (self._in, self._out)):
            if way.source_has_ended or other.is_cut:
                way.legs.source.close()
            else:
                leaving.add(way.legs.source)
        self._say_farewell(leaving)

    def _learn_manners(self) -> None:
        """The PT was told of an EOF; see whether it has closed the other leg, too."""
        self._timer = None
        peer = self._sock_diag.peer(self._out.legs.exit)
        if isinstance(peer, TcpSocket):
            if peer.state != ESTABLISHED:
                self._manners.keeps = False
            elif self._manners.is_asleep():  # else it may only be slow
                self._manners.keeps = True
        self._leave_pt()
        self._end_if_left()

    def _leave_pt(self) -> None:
        for passage in (self._out, self._in):
            passage.legs.entry.close()

    def _say_farewell(self, leaving: set[socket.socket]) -> None:
        self._farewells = set()
        for sock in leaving:
            farewell = Farewell(self._loop, sock, self._heard_out)
            self._farewells.add(farewell)
        self._end_if_left()

    def _heard_out(self, farewell: Farewell) -> None:
        assert self._farewells is not None  # it is one of them
        self._farewells.discard(farewell)
        self._end_if_left()

    def _over(self) -> None:
        self._manners.tunnels -= 1
        self._ended(self)

    def _end_if_left(self) -> None:
        """Say that all is over once the PT's legs and the outer ones are closed."""
        if not self._farewells and self._timer is None:
            self._over()

    def _stop(self) -> None:
        """Touch no socket any more."""
        self._out.stop()
        self._in.stop()
        self._cancel(self._timer)
        self._cancel(self._look)
        self._timer = self._look = None

    @staticmethod
    def _cancel(timer: asyncio.TimerHandle | None) -> None:
        if timer is not None:
            timer.cancel()
