"""What is done to which route, and when: the same for the same seed."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

# The traffic is alone for so long (seconds).
QUIET = 1.0
# How long after a misdeed the route's next one comes (seconds). All kinds of them must
# fit into a run in CI.
GAP = (0.7, 1.8)
# How long those last that have an end (seconds).
LASTING = (0.5, 1.5)
OBFS4PROXY, LYREBIRD = "obfs4proxy", "lyrebird"
# What a client may be told: to speak the session in any case, or to find out.
SESSIONS = ("1", "auto")


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


class Cast(NamedTuple):
    """What plays on a route.

    Attributes:
        client: the PT program of the client.
        server: the PT program of the server.
        session: what the client's session= is.
    """

    client: str
    server: str
    session: str

    @property
    def is_lyrebird(self) -> bool:
        """Whether one of the two PTs passes on no end."""
        return LYREBIRD in (self.client, self.server)


CASTS = tuple(
    itertools.starmap(
        Cast,
        itertools.product((OBFS4PROXY, LYREBIRD), (OBFS4PROXY, LYREBIRD), SESSIONS),
    )
)


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


def cast(seed: int, route: Route) -> Cast:
    """Choose the programs of a route."""
    return random.Random(f"{seed} {route.value} cast").choice(CASTS)  # noqa: S311


def schedule(seed: int, seconds: float) -> list[Event]:
    """Return everything that is to happen within so many seconds, in order.

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
