"""How a tunnel ends whose PT is held at both ends: events in, steps out.

::

             near                plain      PT      wire                net
    host <────────> pt-bridge <────────> [ ... ] <────────> pt-bridge <──────> Internet

Such a tunnel has two ways, and each passes four legs. We feed the PT from the source,
and empty it into the sink:

=====  ========  =======  ======  ======
way    source    entry    exit    sink
=====  ========  =======  ======  ======
OUT    near      plain    wire    net
IN     net       wire     plain   near
=====  ========  =======  ======  ======

What a PT makes of an EOF is its own affair. One kind closes everything at the first
(obfs4proxy), the other does nothing until both ways have ended, and never passes one on
(lyrebird). So we pass it on ourselves, and tell the PT only when it can lose nothing by
it: the other way is done, or the PT is known to keep that one::

    OPEN ── the source ended ──> ENDED ── all that was fed came out ──> DONE
      |                                   (the sink gets its EOF)         ^
      └────────── the sink is lost (nobody reads any more) ───────────────┘

Whether all came out is asked of the kernel (`Step.WATCH`), or shown by the PT: once it
was told of an EOF and then ends the exit, it has written everything before.
"""

from __future__ import annotations

from enum import Enum


class Way(Enum):
    """A direction through the tunnel."""

    OUT = "from the host to the Internet"
    IN = "from the Internet to the host"

    @property
    def other(self) -> Way:
        """The opposite direction."""
        return Way.IN if self is Way.OUT else Way.OUT


class State(Enum):
    """How far a way is."""

    OPEN = "open"
    ENDED = "the source has ended, and the PT was fed all of it"
    DONE = "the sink has everything and its EOF, or is lost"


class Step(Enum):
    """What is to be done, for one way."""

    TELL = "half-close the entry, as soon as the PT has read the other way's"
    WATCH = "find out when all that was fed has come out: `Closing.came_through`"
    END = "half-close the sink"
    CUT = "feed the PT no more; throw away what comes from the source and the exit"
    CLOSE = "both ways are done: close all legs"
    RESET = "the tunnel has failed: reset all legs"


Steps = list[tuple[Step, Way]]


class Closing:
    """The end of one tunnel."""

    __slots__ = ("_states", "_told")

    def __init__(self) -> None:
        """Begin with both ways open."""
        self._states = {Way.OUT: State.OPEN, Way.IN: State.OPEN}
        self._told: set[Way] = set()

    def state(self, way: Way) -> State:
        """Tell how far a way is."""
        return self._states[way]

    @property
    def has_begun(self) -> bool:
        """Whether any way has ended."""
        return set(self._states.values()) != {State.OPEN}

    def is_told(self, way: Way) -> bool:
        """Tell whether the PT got the way's EOF."""
        return way in self._told

    def ended(self, way: Way, *, keeps: bool) -> Steps:
        """Take note that a source has ended, and that all of it is with the PT.

        Args:
            way: whose source.
            keeps: whether this PT is known to keep the other way, though told of an
                EOF on this one.
        """
        if self._states[way] is not State.OPEN:
            return []
        self._states[way] = State.ENDED
        steps = [(Step.WATCH, way)]
        if keeps or self._states[way.other] is State.DONE:
            steps.insert(0, (Step.TELL, way))
        return steps

    def told(self, way: Way) -> None:
        """Take note that the PT got the way's EOF."""
        self._told.add(way)

    def came_through(self, way: Way) -> Steps:
        """Take note that all that the PT was fed has been written to the sink."""
        if self._states[way] is not State.ENDED:
            return []
        return [(Step.END, way), *self._done(way)]

    def exit_ended(self, way: Way) -> Steps:
        """Take note that the PT has ended its exit, and that all of it was written.

        One that was not told to is a failure: what comes to the sink is not all.
        """
        if self._states[way] is State.DONE:
            return []
        if way not in self._told:
            return [(Step.RESET, way)]
        return self.came_through(way)

    def sink_lost(self, way: Way) -> Steps:
        """Take note that nobody will read from the sink any more.

        The peer has closed for good; what it sent before is still on the other way.
        """
        if self._states[way] is State.DONE:
            return []
        return [(Step.CUT, way), *self._done(way)]

    def pt_failed(self, way: Way) -> Steps:
        """Take note that the PT has reset a leg, or takes nothing more of a way."""
        if self._states[way] is State.DONE:
            return []
        return [(Step.RESET, way)]

    def _done(self, way: Way) -> Steps:
        self._states[way] = State.DONE
        match self._states[way.other]:
            case State.DONE:
                return [(Step.CLOSE, way)]
            case State.ENDED if way.other not in self._told:
                return [(Step.TELL, way.other)]
        return []
