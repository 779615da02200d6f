"""The wire side of a PT, where it is held: from the PT's own leg to the Internet's.

::

    PT ── leg ── pt-bridge ── net ── Internet

It begins before its tunnel does, for the PTs on both machines must shake hands over it.
Until then it does what the network would have done: whoever probes a server must not
see that there is somebody between. Only an EOF may have to wait. Once both sides have
spoken, the other one may be through with its handshake, and may have sent all that it
has to say; the PT would take an EOF for the end of everything.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from pt_bridge.connection import end_both_ways, half_close, reset
from pt_bridge.greeting import Greeting
from pt_bridge.pump import CopyPump, End

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Callable

    from pt_bridge.pump import Ended, PumpMaker

# How long an EOF from the net may wait for the tunnel to begin (seconds). The PT has
# everything, and only to call us for it; it gives that up after so long (EO-09).
EOF_PATIENCE = 5.0
# How long PTs may take over a handshake that leads to nothing: obfs4's servers hang up
# on strangers after at most 90 s, and its clients give up after 60 (seconds).
HANDSHAKE_LIMIT = 120.0


class Outcome(Enum):
    """What became of a wire that has not become a tunnel's."""

    OPEN = "nothing so far"
    PT_ENDED = "the PT hung up"
    NET_ENDED = "the other side hung up"
    NET_RESET = "the other side reset the connection"
    LATE = "the handshake took too long"
    DROPPED = "nobody wants it any more"


class Wire:
    """Two connected sockets; it owns them until a tunnel takes them over.

    Attributes:
        leg: the connection to the PT.
        net: the connection to the other machine.
        out: moves what the PT sends.
        inward: moves what comes for the PT.
        outcome: what became of it.
        net_has_ended: whether the other side has sent its EOF, and the PT all before.
    """

    __slots__ = (
        "_emptied",
        "_ended",
        "_fed",
        "_is_claimed",
        "_loop",
        "_pt_is_ending",
        "_pt_was_reset",
        "_pump",
        "_timer",
        "_was_told",
        "inward",
        "leg",
        "net",
        "net_has_ended",
        "out",
        "outcome",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        leg: socket.socket,
        net: socket.socket,
        ended: Callable[[Wire], None],
        *,
        pt_is_ending: Callable[[], bool],
        limit: float = HANDSHAKE_LIMIT,
        pump: PumpMaker = CopyPump,
        first_pump: PumpMaker | None = None,
    ) -> None:
        """Join the PT with the net, and start to move bytes.

        Args:
            loop: the event loop.
            leg: the connection to the PT, non-blocking.
            net: the connection to the other machine, non-blocking.
            ended: called once when both are closed, but not once it is a tunnel's.
            pt_is_ending: tells whether an EOF from the PT comes from its death.
            limit: how long the PTs may take before there is a tunnel, in seconds.
            pump: makes the pumps, one for each direction.
            first_pump: makes the inward one that serves until there is a tunnel, where
                that is another one: a `Greeting`.
        """
        self.leg = leg
        self.net = net
        self.outcome = Outcome.OPEN
        self.net_has_ended = False
        self._loop = loop
        self._ended = ended
        self._was_told = False
        self._is_claimed = False
        self._pt_was_reset = False
        self._pt_is_ending = pt_is_ending
        self._emptied: Ended | None = None
        self._fed: Ended | None = None
        self._timer = loop.call_later(limit, self._end, Outcome.LATE, leg, net)
        self.out = pump(loop, leg, net, self._out_ended)
        self._pump = pump
        self.inward = (first_pump or pump)(loop, net, leg, self._in_ended)
        self.out.start()
        self.inward.start()

    @property
    def can_be_joined(self) -> bool:
        """Whether a tunnel may still begin."""
        return self.outcome is Outcome.OPEN and not self._was_told

    def join(self, *, emptied: Ended, fed: Ended) -> None:
        """Leave both sockets to a tunnel, their pumps running.

        Args:
            emptied: hears how the way from the PT to the net ends.
            fed: hears how the other way ends; not if `net_has_ended`.
        """
        assert self.can_be_joined  # else the caller has not looked
        self._timer.cancel()
        if isinstance(self.inward, Greeting) and not self.net_has_ended:
            self._greeted(self.inward)
        # Idle tunnels are many: nothing is kept that is not needed any more.
        del self._timer, self._ended
        self._emptied, self._fed = emptied, fed

    def _greeted(self, greeting: Greeting) -> None:
        """Let the pump that serves the tunnel take over."""
        if not greeting.finish():
            end_both_ways(self.leg)  # which its pumps will tell
        self.inward = self._pump(self._loop, self.net, self.leg, self._in_ended)
        self.inward.start()

    def claim(self) -> None:
        """Let an EOF wait without limit: the PT has called for the tunnel."""
        self._is_claimed = True
        if self.can_be_joined:
            self._timer.cancel()

    def drop(self) -> None:
        """Reset both connections, unless they are closed or a tunnel's."""
        if self.outcome is Outcome.OPEN and self._fed is None:
            self._end(Outcome.DROPPED, self.leg, self.net)

    def _out_ended(self, how: End) -> None:
        if self._emptied is not None:
            self._emptied(how)
            return
        why = Outcome.NET_ENDED if self.net_has_ended else Outcome.PT_ENDED
        match how:
            case End.EOF if not self._has_failed():
                # As the PT itself closes: what it left unread makes that a reset.
                self._end(why)
            case End.EOF | End.SOURCE_RESET:
                self._end(why, self.net)
            case _:
                self._end(Outcome.NET_RESET, self.leg)

    def _has_failed(self) -> bool:
        """Tell whether the PT's EOF must not look like the end of an empty answer.

        A client that is let in already would take it for that.
        """
        return self._pt_was_reset or self._is_claimed or self._pt_is_ending()

    def _in_ended(self, how: End) -> None:
        if self._fed is not None:
            self._fed(how)
            return
        match how:
            case End.EOF:
                self.net_has_ended = True
                if self._is_claimed:
                    pass
                elif self.out.moved and self.inward.moved:
                    self._timer.cancel()
                    self._timer = self._loop.call_later(EOF_PATIENCE, self._tell_pt)
                else:
                    self._tell_pt()
            case End.SOURCE_RESET:
                self._end(Outcome.NET_RESET, self.leg)
            case End.SINK_RESET:
                # What it has said is on its way, and not all; the kernel tells of the
                # reset only once.
                self._pt_was_reset = True
            case End.SINK_CLOSED:
                # It takes nothing more; what it has said is on its way, and its end.
                pass

    def _tell_pt(self) -> None:
        """Give the PT the EOF: no tunnel will begin any more."""
        self._was_told = True
        half_close(self.leg)
        self._timer.cancel()
        self._timer = self._loop.call_later(
            HANDSHAKE_LIMIT, self._end, Outcome.NET_ENDED
        )

    def _end(self, outcome: Outcome, *cut: socket.socket) -> None:
        """Close both; those that are cut, with a reset."""
        self.outcome = outcome
        self._timer.cancel()
        self.out.stop()
        self.inward.stop()
        for sock in cut:
            reset(sock)
        self.leg.close()
        self.net.close()
        self._ended(self)
