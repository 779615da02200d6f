"""One tunnel: the two legs that pt-bridge holds of it, and how it ends.

::

    host ── near leg ── pt-bridge ── far leg ── PT

The rules of ``hold=plain`` (conformance RL-02 to RL-04). What the PT makes of an EOF is
not what TCP would, so it gets one only when nothing can be lost by it any more:

=============================  =====================================================
the host half-closes           the PT is told nothing; the answer goes on until it
                               ends, or is silent for `linger`, or the kernel tells
                               that the host has closed for good
the PT ends                    the host gets what came, and then the EOF
the host closes for good       what it sent reaches the PT, and then the EOF
the host, or the PT, resets    the other one is reset
the PT dies                    looks like an EOF, and is a reset
=============================  =====================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pt_bridge.connection import half_close, reset, unsent
from pt_bridge.farewell import Farewell
from pt_bridge.pump import CopyPump, Drain, End
from pt_bridge.sock_diag import cannot_tell

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Callable

    from pt_bridge.pump import PumpMaker

# How long a half-closed tunnel may be silent where nothing else was asked for: where
# the kernel tells that the host is alive, and where it does not (seconds).
LINGER, BLIND_LINGER = 60.0, 10.0
# How long the peer of a leg that is done with may take nothing of what it was sent, or
# leave out its own EOF (seconds).
DRAIN_LIMIT = 10.0
# A host may half-close first and close for good a moment later, and nothing tells us of
# that: when it is looked at again for the first time (seconds). Each wait is twice the
# one before, so a few looks are enough for any `linger`.
FIRST_LOOK = 0.01


class Tunnel:
    """Two connected sockets that are joined until they end.

    It owns both sockets and closes them in every case.
    """

    __slots__ = (
        "_down",
        "_drain",
        "_drain_limit",
        "_ended",
        "_far",
        "_farewell",
        "_host_has_closed",
        "_host_is_alive",
        "_host_is_gone",
        "_idle",
        "_linger",
        "_look",
        "_loop",
        "_near",
        "_pt_is_done",
        "_pt_is_ending",
        "_pt_was_reset",
        "_seen",
        "_timer",
        "_up",
        "_up_done",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        near: socket.socket,
        far: socket.socket,
        *,
        linger: float | None,
        idle: float | None,
        pt_is_ending: Callable[[], bool],
        ended: Callable[[Tunnel], None],
        host_has_closed: Callable[[socket.socket], bool | None] = cannot_tell,
        drain_limit: float = DRAIN_LIMIT,
        pump: PumpMaker = CopyPump,
    ) -> None:
        """Join two sockets and start to move bytes.

        Args:
            loop: the event loop.
            near: the connection to the host, non-blocking.
            far: the connection to the PT, non-blocking.
            linger: seconds that the PT may be silent once the host has half-closed, or
                None for what is usual.
            idle: seconds that both may be silent, or None for no limit.
            pt_is_ending: tells whether an EOF from the PT comes from its death.
            ended: called once, when both sockets are closed.
            host_has_closed: tells, of the half-closed connection to the host, whether
                the host has closed it for good; None where that cannot be known.
            drain_limit: seconds without progress after which a leg is given up.
            pump: makes the pumps, one for each direction.
        """
        self._loop = loop
        self._near = near
        self._far = far
        self._linger = linger
        self._idle = idle
        self._pt_is_ending = pt_is_ending
        self._ended = ended
        self._host_has_closed = host_has_closed
        self._drain_limit = drain_limit
        self._up = pump(loop, near, far, self._up_ended)
        self._down = pump(loop, far, near, self._down_ended)
        self._up_done = False
        self._pt_was_reset = False
        self._host_is_alive = False
        self._host_is_gone = False
        self._pt_is_done = False
        self._seen = -1
        self._drain: Drain | None = None
        self._farewell: Farewell | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._look: asyncio.TimerHandle | None = None
        self._up.start()
        self._down.start()
        if idle is not None:
            self._timer = loop.call_later(idle, self._check_silence)

    @property
    def moved(self) -> int:
        """The bytes that went through, in both directions."""
        return self._up.moved + self._down.moved

    def pt_died(self) -> None:
        """Reset it, unless the PT had ended before: then the answer is whole."""
        if not self._pt_is_done:
            self.reset()

    def reset(self) -> None:
        """End both legs with a reset."""
        self._stop()
        reset(self._near)
        reset(self._far)
        self._ended(self)

    def _up_ended(self, how: End) -> None:
        self._up_done = True
        match how:
            case End.SOURCE_RESET:
                self.reset()
            case End.EOF if self._host_is_gone:
                self._finish_far()
            case End.EOF if self._pt_is_done:
                self._close()
            case End.EOF:
                self._await_answer()
            case _ if self._host_is_gone:
                self.reset()
            case _ if self._pt_is_done:
                self._drain_near()
            case End.SINK_RESET:
                # What the PT sent before is still to be read.
                self._pt_was_reset = True
            case End.SINK_CLOSED:
                # The same, and its EOF; the host talks to nobody until then.
                self._drain = Drain(self._loop, self._near, _do_nothing)

    def _down_ended(self, how: End) -> None:
        match how:
            case End.EOF if self._pt_was_reset or self._pt_is_ending():
                self.reset()
            case End.EOF:
                self._finish_near()
            case End.SOURCE_RESET | End.SINK_RESET:
                self.reset()
            case End.SINK_CLOSED if self._up_done:
                self._finish_far()
            case End.SINK_CLOSED:
                # What the host sent before it closed is still to be read.
                self._host_is_gone = True
                self._drain = Drain(self._loop, self._far, self.reset)
                self._cancel_timer()
                self._wait(self.reset)

    def _await_answer(self) -> None:
        self._up.last = self._loop.time()
        self._look_at_host(FIRST_LOOK)
        if not self._host_is_gone:
            self._check_silence()

    def _look_at_host(self, wait: float) -> None:
        """End a tunnel whose host has closed for good, or look again later.

        All that the host sent is on its way to the PT, and the EOF comes after it.
        """
        match self._host_has_closed(self._near):
            case True:
                self._host_is_gone = True
                self._finish_far()
            case False:
                self._host_is_alive = True
                self._look = self._loop.call_later(wait, self._look_at_host, 2 * wait)

    @property
    def _lingering(self) -> float:
        if self._linger is not None:
            return self._linger
        return LINGER if self._host_is_alive else BLIND_LINGER

    def _taken(self) -> int:
        """Give how many bytes the two peers have taken, as far as the kernel tells."""
        moved = self._up.moved + self._down.moved
        return moved - unsent(self._near) - unsent(self._far)

    def _check_silence(self) -> None:
        """End a tunnel that was silent for too long, or look again later."""
        limit = self._lingering if self._up_done else self._idle
        assert limit is not None  # else nothing would have asked
        silent = self._loop.time() - max(self._up.last, self._down.last)
        if self._up_done:
            taken = self._taken()
            has_moved = taken != self._seen >= 0
            if has_moved or self._down.is_blocked or unsent(self._near):
                silent = 0.0  # one of the two is only slow
            self._seen = taken
        self._cancel_timer()
        if silent < limit:
            self._timer = self._loop.call_later(limit - silent, self._check_silence)
        elif self._up_done:
            # The PT has taken all that the host sent, and may pass it on in peace.
            self._stop()
            reset(self._near)
            self._far.close()
            self._ended(self)
        else:
            self.reset()

    def _finish_near(self) -> None:
        """The PT has ended: give the host its EOF; what it still sends goes on."""
        self._pt_is_done = True
        half_close(self._near)
        if self._up_done:
            self._drain_near()
        else:
            self._cancel_timer()
            self._wait(self._give_up)

    def _give_up(self) -> None:
        """End it; an upload that is cut must not look complete."""
        if self._up.is_blocked or unsent(self._far):
            self.reset()
        else:
            self._close()

    def _drain_near(self) -> None:
        """Nobody takes what the host still sends: let it read what it was sent."""
        self._stop()
        self._far.close()
        self._farewell = Farewell(
            self._loop, self._near, self._heard_out, limit=self._drain_limit
        )

    def _heard_out(self, _: Farewell) -> None:
        self._farewell = None
        self._ended(self)

    def _finish_far(self) -> None:
        """The host is gone: give the PT its EOF, and time to pass everything on."""
        self._stop()
        self._near.close()
        half_close(self._far)
        self._drain = Drain(self._loop, self._far, self._close)
        self._wait(self._close)

    def _wait(self, give_up: Callable[[], None], before: int | None = None) -> None:
        """Give the tunnel up once neither peer takes anything more."""
        taken = self._taken()
        if taken == before:
            give_up()
        else:
            self._timer = self._loop.call_later(
                self._drain_limit, self._wait, give_up, taken
            )

    def _close(self) -> None:
        self._stop()
        self._near.close()
        self._far.close()
        self._ended(self)

    def _stop(self) -> None:
        """Touch neither socket any more; safe to call again."""
        for pump in (self._up, self._down, self._drain):
            if pump is not None:
                pump.stop()
        self._drain = None
        if self._farewell is not None:
            self._farewell.reset()
            self._farewell = None
        self._cancel_timer()
        if self._look is not None:
            self._look.cancel()
            self._look = None

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _do_nothing() -> None:
    pass
