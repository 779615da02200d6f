"""What may go wrong, and what may not: every failed connection is judged by this.

========================  ==========================================================
what happened             which failures it explains
========================  ==========================================================
a PT killed, on either    of those that had begun and that the service had taken: any
side, the server's state  other is tried again, or waits for the next PT. A server's
deleted with it or not    port is closed until its PT is there again; who finds it so
                          may give up, but not before it has tried for a while.
ss-server killed          all: its plugin, and so the server's port, ends with it
descriptors filled        of those that the service had not taken: open tunnels go on
a PT stopped              none: it only takes longer
========================  ==========================================================

On the standalone route whatever was cut ends in a reset, at the client and at the
service: an EOF before the announced length is a failure of the run, and so is an EOF
where somebody has reset. ss-local and ss-server end what is cut with an EOF, as they
end everything, so on their route a reset is asked of nobody, and what the service has
taken of a connection that had no answer cannot be known.

Who begins when all is well again is owed all, however soon after. There, as everywhere,
a transfer is whole only when the length that was announced came, every byte was right,
and the end came after it. Whatever happened, no byte may be wrong, no port of a client
closed, and nobody stuck.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from chaos.schedule import Misdeed, Route
from pt_bridge.pool.redialling import DIAL_AGAIN_FOR

if TYPE_CHECKING:
    from collections.abc import Iterable

# How long after its end a misdeed still explains a failure (seconds). lyrebird tells
# nobody that a connection has ended; the session finds out within 60 s, where somebody
# waits.
AFTER, AFTER_LYREBIRD = 5.0, 70.0
# How long a client tries to reach a server whose port is closed (seconds).
TRIED = DIAL_AGAIN_FOR
# How long what changes may take to be noticed: who begins so long after the death of a
# PT finds none, and waits; who begins so long after a misdeed's end meets it no more
# (seconds).
NOTICED = 0.2


class Ending(Enum):
    """How a connection failed."""

    RESET = "was reset"
    EOF = "ended with an EOF"
    REFUSED = "was refused"
    STUCK = "neither went on nor ended"
    WRONG = "carried a wrong byte"


@dataclass
class Window:
    """A misdeed that was carried out.

    Attributes:
        route: to whom.
        misdeed: what.
        began: when, in seconds of the clock of all these.
        ended: when everything was there again.
        after: how long after that its last victim may hear of it (seconds).
    """

    route: Route
    misdeed: Misdeed
    began: float
    ended: float = math.inf
    after: float = AFTER


@dataclass(frozen=True)
class Failure:
    """A connection that did not do what was announced.

    Attributes:
        route: where.
        kind: what it was to do.
        ending: how it failed.
        began: when it was opened.
        at: when it failed.
        was_open: whether the service had answered.
        missing: how many of the bytes announced did not come.
        stream: the number of its stream.
        was_taken: whether the service got what it asked for, sooner or later.
    """

    route: Route
    kind: str
    ending: Ending
    began: float
    at: float
    was_open: bool
    missing: int
    stream: int = 0
    was_taken: bool = False

    @property
    def had_begun(self) -> bool:
        """Whether it could not be tried again, as far as that can be known."""
        if self.route is Route.SHADOWSOCKS:
            return True  # ss-server may have taken it
        return self.was_taken


def is_explained(failure: Failure, windows: Iterable[Window]) -> bool:
    """Return whether some misdeed explains a failure."""
    return any(
        window.began <= failure.at <= window.ended + window.after
        and failure.began <= window.ended + NOTICED
        and _explains(window, failure)
        for window in windows
        if window.route is failure.route
    )


def _explains(window: Window, failure: Failure) -> bool:
    if failure.ending not in (Ending.RESET, Ending.EOF):
        return False
    if failure.ending is Ending.EOF and window.route is Route.STANDALONE:
        return False
    match window.misdeed:
        case Misdeed.STOP_CLIENT_PT | Misdeed.STOP_SERVER_PT:
            return False
        case Misdeed.KILL_CLIENT_PT:
            return _was_cut(window, failure)
        case Misdeed.KILL_SERVER_PT | Misdeed.FORGET:
            has_tried = failure.at - failure.began >= TRIED
            return _was_cut(window, failure) or (not failure.was_open and has_tried)
        case Misdeed.FILL:
            return not (failure.was_open or failure.was_taken)
        case Misdeed.KILL_SS_SERVER:
            return True


def _was_cut(window: Window, failure: Failure) -> bool:
    return failure.had_begun and failure.began <= window.began + NOTICED


def accusation(failure: Failure, start: float) -> str:
    """Return a sentence that says what was wrong about a failure.

    Args:
        failure: one that nothing explains.
        start: when the run began.
    """
    cut = ""
    if failure.ending in (Ending.RESET, Ending.EOF):
        cut = f" {failure.missing} bytes too early"
        if failure.ending is Ending.EOF and failure.route is Route.STANDALONE:
            cut += ", as if it were complete"
    began = "" if failure.was_open else ", before the service had answered"
    return (
        f"{failure.route.value}, {failure.kind}: a connection {failure.ending.value}"
        f"{cut}{began}, at {failure.at - start:.2f} s, open since "
        f"{failure.began - start:.2f} s"
    )


def calm(route: Route, since: float, until: float, windows: Iterable[Window]) -> float:
    """Return how many seconds of a time there was no misdeed on a route."""
    left, at = 0.0, since
    theirs = [window for window in windows if window.route is route]
    for window in sorted(theirs, key=lambda each: each.began):
        left += max(0.0, min(window.began, until) - at)
        at = max(at, min(window.ended, until))
    return left + max(0.0, until - at)
