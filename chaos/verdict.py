"""What may go wrong, and what may not: every failed connection is judged by this.

========================  ==========================================================
what happened             which failures it explains
========================  ==========================================================
a PT killed, on either    of those that had begun. Who begins after the death waits
side, the server's state  for the next PT.
deleted with it or not
ss-server killed          all: its plugin, and so the server's port, ends with it
descriptors filled        of those that had not begun: open tunnels go on
a PT stopped              none: it only takes longer
========================  ==========================================================

The standalone route's end in a reset: an EOF before the announced length is a failure
of the run. Both ends of both PTs are held, so that what ends at the one side is not
taken for an end that was meant at the other.

Who begins when all is well again is owed all, however soon after. ss-local ends what is
cut with an EOF, as it ends everything, so on that route a reset is asked of nobody.
There, as everywhere, a transfer is whole only when the length that was announced came
and every byte was right. Whatever happened, no byte may be wrong, no port closed, and
nobody stuck.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from chaos.schedule import Misdeed, Route

if TYPE_CHECKING:
    from collections.abc import Iterable

# How long after its end a misdeed still explains a failure (seconds).
AFTER = 5.0
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
    """

    route: Route
    misdeed: Misdeed
    began: float
    ended: float = math.inf


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
    """

    route: Route
    kind: str
    ending: Ending
    began: float
    at: float
    was_open: bool
    missing: int


def is_explained(failure: Failure, windows: Iterable[Window]) -> bool:
    """Tell whether some misdeed explains a failure."""
    return any(
        window.began <= failure.at <= window.ended + AFTER
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
        case Misdeed.KILL_CLIENT_PT | Misdeed.KILL_SERVER_PT | Misdeed.FORGET:
            return failure.began <= window.began + NOTICED
        case Misdeed.FILL:
            return not failure.was_open
        case Misdeed.KILL_SS_SERVER:
            return True


def accusation(failure: Failure, start: float) -> str:
    """Say what was wrong about a failure.

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
    """Give how many seconds of a time there was no misdeed on a route."""
    left, at = 0.0, since
    theirs = [window for window in windows if window.route is route]
    for window in sorted(theirs, key=lambda each: each.began):
        left += max(0.0, min(window.began, until) - at)
        at = max(at, min(window.ended, until))
    return left + max(0.0, until - at)
