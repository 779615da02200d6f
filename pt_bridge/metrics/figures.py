"""What is counted of one bridge, and how it may be told: no address, nobody's name."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

# Tor tells numbers of clients in eights only (dir-spec, "dirreq-v3-ips"), so that one
# client less or more is seen in them hardly ever.
STEP = 8
# How long handshakes with the server take (seconds): one round trip, or many, or none.
BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
INFINITY = "+Inf"


class Histogram:
    """Counts durations by their length.

    Attributes:
        total: all of them together, in seconds.
    """

    __slots__ = ("_counts", "total")

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        """Count one."""
        self._counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds

    @property
    def buckets(self) -> list[tuple[str, int]]:
        """How many took no longer than each bound, which is text; the last is all."""
        bounds = [*map(str, BOUNDS), INFINITY]
        return list(zip(bounds, accumulate(self._counts), strict=True))


class Figures(NamedTuple):
    """What one bridge has counted since it began.

    Attributes:
        name: what its owner calls it.
        side: ``client`` or ``server``.
        transport: the PT method.
        is_up: whether a PT runs and is ready.
        open: how many tunnels there are.
        opened: how many there have been, those included.
        outbound: bytes that went from shadowsocks's client towards its server.
        inbound: bytes that went the other way.
        waiting: connections that wait, for their first byte or for a PT.
        dialling: connections that are being made.
        ready: connections that are there for the next stream (client).
        handshakes: how long it took to reach the server through the PT, or for a client
            to be let in by it.
        failures: how often connections failed, by cause.
        refusals: how often somebody was not let in, by cause.
        cuts: tunnels that ended before their end.
        reused: streams that needed no handshake of their own.
        dropped: datagrams that were, since the path was full or nobody took them.
        restarts: how often the PT was started again.
        countries: how many different clients came, by their country.
    """

    name: str
    side: str
    transport: str
    is_up: bool
    open: int
    opened: int
    outbound: int
    inbound: int
    waiting: int
    dialling: int
    ready: int
    handshakes: Histogram
    failures: Mapping[str, int]
    refusals: Mapping[str, int]
    cuts: int
    reused: int
    dropped: int
    restarts: int
    countries: Mapping[str, int]


def rounded_up(number: int) -> int:
    """Return how many clients may be told of: the next multiple of eight."""
    return -(-number // STEP) * STEP
