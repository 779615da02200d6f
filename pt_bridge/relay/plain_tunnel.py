"""A tunnel without a session: its two connections, and how both end.

::

    shadowsocks ── local ── pt-bridge ── plain ── PT

Where both machines run pt-bridge, a session says the ends (`pt_bridge.session.stream`).
This is for a server, or a client, that speaks none (RL-02 to RL-04). What
the PT makes of an EOF is not what TCP would, so it gets one only when nothing can be
lost by it any more:

=============================  =====================================================
shadowsocks half-closes        the PT is told nothing; the answer goes on until it
                               ends, or is silent for `linger`, or the kernel tells
                               that shadowsocks has closed for good
the PT ends                    shadowsocks gets what came, and then the EOF
shadowsocks closes for good    what it sent reaches the PT, and then the EOF
one of both resets             the other one is reset
the PT dies                    looks like an EOF, and is a reset
=============================  =====================================================
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from pt_bridge.net.sock_diag import cannot_tell
from pt_bridge.net.sockets import half_close, reset, unsent
from pt_bridge.relay.draining_close import DrainingClose
from pt_bridge.relay.pump import CopyPump, Drain, End

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from pt_bridge.relay.pump import PumpMaker

# How long a half-closed tunnel may be silent where nothing else was asked for: where
# the kernel tells that shadowsocks is alive, and where it does not (seconds).
LINGER, BLIND_LINGER = 60.0, 10.0
# How long the peer of a side that is done with may take nothing of what it was sent, or
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
        "_drain",
        "_drain_limit",
        "_draining",
        "_idle",
        "_inbound",
        "_linger",
        "_local",
        "_local_has_closed",
        "_local_is_alive",
        "_local_is_gone",
        "_look",
        "_loop",
        "_on_answer",
        "_on_ended",
        "_outbound",
        "_outbound_is_over",
        "_plain",
        "_pt_is_done",
        "_pt_was_reset",
        "_seen",
        "_timer",
        "pt_is_ending",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        local: socket.socket,
        plain: socket.socket,
        *,
        linger: float | None,
        idle: float | None,
        pt_is_ending: Callable[[], bool],
        on_ended: Callable[[Tunnel], None],
        local_has_closed: Callable[[socket.socket], bool | None] = cannot_tell,
        drain_limit: float = DRAIN_LIMIT,
        pump: PumpMaker = CopyPump,
        first_outbound: bytes = b"",
        first_inbound: bytes = b"",
        on_answer: Callable[[], None] | None = None,
    ) -> None:
        """Join two sockets and start to move bytes.

        Args:
            loop: the event loop.
            local: the connection to shadowsocks, non-blocking.
            plain: the connection to the PT, non-blocking.
            linger: seconds that the PT may be silent once shadowsocks has half-closed,
                or None for what is usual.
            idle: seconds that both may be silent, or None for no limit.
            pt_is_ending: tells whether an EOF from the PT comes from its death.
            on_ended: called once, when both sockets are closed.
            local_has_closed: tells, of the half-closed local connection, whether
                shadowsocks has closed it for good; None where that cannot be known.
            drain_limit: seconds without progress after which a side is given up.
            pump: makes the pumps, one for each direction.
            first_outbound: bytes of shadowsocks's that were read already.
            first_inbound: bytes of the PT's that were read already.
            on_answer: called once when the PT's first byte has come.
        """
        self._loop = loop
        self._local = local
        self._plain = plain
        self._linger = linger
        self._idle = idle
        self.pt_is_ending = pt_is_ending
        self._on_ended = on_ended
        self._local_has_closed = local_has_closed
        self._drain_limit = drain_limit
        self._outbound = pump(loop, local, plain, self._on_outbound_ended)
        self._inbound = pump(loop, plain, local, self._on_inbound_ended)
        self._outbound_is_over = False
        self._pt_was_reset = False
        self._local_is_alive = False
        self._local_is_gone = False
        self._pt_is_done = False
        self._seen = -1
        self._drain: Drain | None = None
        self._draining: DrainingClose | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._look: asyncio.TimerHandle | None = None
        self._on_answer = on_answer
        self._outbound.start(first_outbound)
        if on_answer is None:
            self._inbound.start(first_inbound)
        else:
            loop.add_reader(plain.fileno(), self._first_came)
        if idle is not None:
            self._timer = loop.call_later(idle, self._check_silence)

    @property
    def moved(self) -> int:
        """The bytes that went through, in both directions."""
        return self.outbound + self.inbound

    @property
    def outbound(self) -> int:
        """The bytes that went from shadowsocks to the PT."""
        return self._outbound.moved

    @property
    def inbound(self) -> int:
        """The bytes that went from the PT to shadowsocks."""
        return self._inbound.moved

    def pt_died(self) -> bool:
        """Reset it, unless the PT had ended before: then the answer is whole.

        Returns:
            Whether it was reset.
        """
        if not self._pt_is_done:
            self.reset()
            return True
        return False

    def reset(self) -> None:
        """End both sides with a reset."""
        self._stop()
        reset(self._local)
        reset(self._plain)
        self._on_ended(self)

    def _first_came(self) -> None:
        """Call `on_answer`, and begin to pass the answer on."""
        try:
            is_answer = bool(self._plain.recv(1, socket.MSG_PEEK))
        except (BlockingIOError, InterruptedError):
            return
        except OSError:  # it is told only once, and the pump would see an end
            self.reset()
            return
        on_answer = self._stop_waiting_for_answer()
        self._inbound.start()
        if on_answer is not None and is_answer:
            on_answer()

    def _stop_waiting_for_answer(self) -> Callable[[], None] | None:
        on_answer, self._on_answer = self._on_answer, None
        if on_answer is not None:
            self._loop.remove_reader(self._plain.fileno())
        return on_answer

    def _on_outbound_ended(self, how: End) -> None:
        self._outbound_is_over = True
        match how:
            case End.SOURCE_RESET:
                self.reset()
            case End.EOF if self._local_is_gone:
                self._finish_plain()
            case End.EOF if self._pt_is_done:
                self._close()
            case End.EOF:
                self._await_answer()
            case _ if self._local_is_gone:
                self.reset()
            case _ if self._pt_is_done:
                self._drain_local()
            case End.SINK_RESET:
                # What the PT sent before is still to be read.
                self._pt_was_reset = True
            case End.SINK_CLOSED:
                # The same, and its EOF; shadowsocks talks to nobody until then.
                self._drain = Drain(self._loop, self._local, _do_nothing)

    def _on_inbound_ended(self, how: End) -> None:
        match how:
            case End.EOF if self._pt_was_reset or self.pt_is_ending():
                self.reset()
            case End.EOF:
                self._finish_local()
            case End.SOURCE_RESET | End.SINK_RESET:
                self.reset()
            case End.SINK_CLOSED if self._outbound_is_over:
                self._finish_plain()
            case End.SINK_CLOSED:
                # What shadowsocks sent before it closed is still to be read.
                self._local_is_gone = True
                self._drain = Drain(self._loop, self._plain, self.reset)
                self._cancel_timer()
                self._wait(self.reset)

    def _await_answer(self) -> None:
        self._outbound.last = self._loop.time()
        self._look_at_local(FIRST_LOOK)
        if not self._local_is_gone:
            self._seen = self._taken()
            self._cancel_timer()
            self._timer = self._loop.call_later(self._lingering, self._check_silence)

    def _look_at_local(self, wait: float) -> None:
        """End a tunnel whose shadowsocks has closed for good, or look again later.

        All that shadowsocks sent is on its way to the PT, and the EOF comes after it.
        """
        match self._local_has_closed(self._local):
            case True:
                self._local_is_gone = True
                self._finish_plain()
            case False:
                self._local_is_alive = True
                self._look = self._loop.call_later(wait, self._look_at_local, 2 * wait)

    @property
    def _lingering(self) -> float:
        if self._linger is not None:
            return self._linger
        return LINGER if self._local_is_alive else BLIND_LINGER

    def _taken(self) -> int:
        """Return how many bytes both peers have acknowledged, as the kernel tells."""
        moved = self._outbound.moved + self._inbound.moved
        return moved - unsent(self._local) - unsent(self._plain)

    def _check_silence(self) -> None:
        """End a tunnel that was silent for too long, or look again later."""
        limit = self._lingering if self._outbound_is_over else self._idle
        assert limit is not None  # else nothing would have asked
        silent = self._loop.time() - max(self._outbound.last, self._inbound.last)
        if self._outbound_is_over:
            taken = self._taken()
            has_moved = taken != self._seen >= 0
            if has_moved or self._inbound.is_blocked or unsent(self._local):
                silent = 0.0  # one of the two is only slow
            self._seen = taken
        self._cancel_timer()
        if silent < limit:
            self._timer = self._loop.call_later(limit - silent, self._check_silence)
        elif self._outbound_is_over:
            # The PT has taken all that shadowsocks sent, and may pass it on in peace.
            self._stop()
            reset(self._local)
            self._plain.close()
            self._on_ended(self)
        else:
            self.reset()

    def _finish_local(self) -> None:
        """The PT has ended: give shadowsocks its EOF; what it still sends goes on."""
        self._pt_is_done = True
        half_close(self._local)
        if self._outbound_is_over:
            self._drain_local()
        else:
            self._cancel_timer()
            self._wait(self._give_up)

    def _give_up(self) -> None:
        """End it; an upload that is cut must not look complete."""
        if self._outbound.is_blocked or unsent(self._plain):
            self.reset()
        else:
            self._close()

    def _drain_local(self) -> None:
        """Nobody takes what shadowsocks still sends: let it read what it was sent."""
        self._stop()
        self._plain.close()
        self._draining = DrainingClose(
            self._loop, self._local, self._heard_out, limit=self._drain_limit
        )

    def _heard_out(self, _: DrainingClose) -> None:
        self._draining = None
        self._on_ended(self)

    def _finish_plain(self) -> None:
        """The host is gone: give the PT its EOF, and time to pass everything on."""
        self._stop()
        self._local.close()
        half_close(self._plain)
        self._drain = Drain(self._loop, self._plain, self._close)
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
        self._local.close()
        self._plain.close()
        self._on_ended(self)

    def _stop(self) -> None:
        """Touch neither socket any more; safe to call again."""
        self._stop_waiting_for_answer()
        for pump in (self._outbound, self._inbound, self._drain):
            if pump is not None:
                pump.stop()
        self._drain = None
        if self._draining is not None:
            self._draining.reset()
            self._draining = None
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
