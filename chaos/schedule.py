"""What is done to which route, and when: the same for the same seed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import Enum

# The traffic is alone for so long (seconds).
QUIET = 1.0
# How long after a misdeed the route's next one comes (seconds). All kinds of them must
# fit into a run in CI.
GAP = (0.7, 1.8)
# How long those last that have an end (seconds). Several stops in a row must stay below
# the 10 s that pt-bridge gives a half-closed tunnel to be silent.
LASTING = (0.5, 1.5)


class Route(Enum):
    """A way from an application to the service, and back."""

    SHADOWSOCKS = "shadowsocks"
    STANDALONE = "standalone"


class Misdeed(Enum):
    """Something that nobody should do, and that happens."""

    KILL_CLIENT_PT = "kill the client's PT"
    KILL_SERVER_PT = "kill the server's PT"
    STOP_CLIENT_PT = "stop the client's PT"
    STOP_SERVER_PT = "stop the server's PT"
    KILL_SS_SERVER = "kill ss-server"
    FILL = "fill the descriptors"
    FORGET = "delete the state"


MISDEEDS = {
    Route.SHADOWSOCKS: tuple(Misdeed),
    Route.STANDALONE: tuple(
        each for each in Misdeed if each is not Misdeed.KILL_SS_SERVER
    ),
}


@dataclass(frozen=True)
class Event:
    """One misdeed.

    Attributes:
        at: when, in seconds from the start.
        route: to whom.
        misdeed: what.
        lasts: for how many seconds, where it has an end.
    """

    at: float
    route: Route
    misdeed: Misdeed
    lasts: float


def schedule(seed: int, seconds: float) -> list[Event]:
    """Give everything that is to happen within so many seconds, in order.

    Misdeeds are dealt like cards: each kind comes once before any comes again.
    """
    events = [event for route in Route for event in _dealt(route, seed, seconds)]
    return sorted(events, key=lambda event: event.at)


def _dealt(route: Route, seed: int, seconds: float) -> list[Event]:
    source = random.Random(f"{seed} {route.value}")  # noqa: S311 - no secret
    events: list[Event] = []
    deck: list[Misdeed] = []
    at = QUIET
    while True:
        lasts = source.uniform(*LASTING)
        if at + lasts > seconds:
            return events
        if not deck:
            deck = list(MISDEEDS[route])
            source.shuffle(deck)
        events.append(Event(at, route, deck.pop(), lasts))
        at += source.uniform(*GAP)
