"""What one bridge counts while it runs."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Protocol

from pt_bridge.formats.geoip import UNKNOWN
from pt_bridge.metrics.figures import Figures, Histogram
from pt_bridge.options.own_options import CLIENT, SERVER
from pt_bridge.status.distinct_clients import DistinctClients
from pt_bridge.status.failures import Failures

if TYPE_CHECKING:
    from pt_bridge.options.config import Config
    from pt_bridge.relay.tunnels import Tunnels
    from pt_bridge.session.sessions import Sessions


class CarriesDatagrams(Protocol):
    """What carries datagrams, and counts those that it drops."""

    @property
    def number_dropped(self) -> int:
        """How many were dropped until now."""


class Counts:
    """The numbers that are nobody else's; tunnels and sessions count themselves.

    Attributes:
        restarts: how often the PT was started again.
        udp: what carries datagrams, if anything does.
        failures: what failed.
        refusals: who was not let in, or not taken; these are among the failures.
        handshakes: how long those of the PT took.
        clients: who came to a server, counted.
        countries: the same by country, where that can be told.
    """

    def __init__(self) -> None:
        """Begin to count."""
        self.restarts = 0
        self.udp: CarriesDatagrams | None = None
        self.failures = Failures()
        self.refusals: Counter[str] = Counter()
        self.handshakes = Histogram()
        self.clients = DistinctClients()
        self.countries: Counter[str] = Counter()

    def refuse(self, cause: str) -> None:
        """Count somebody who is not taken, which is a failure, too."""
        self.failures.add(cause)
        self.refusals[cause] += 1

    def figures(
        self,
        config: Config,
        tunnels: Tunnels,
        sessions: Sessions,
        *,
        name: str,
        is_up: bool,
        waiting: int,
        dialling: int,
    ) -> Figures:
        """Return everything that was counted of a bridge.

        Args:
            config: what the user asks for.
            tunnels: its tunnels without a session.
            sessions: those with one.
            name: what its owner calls it.
            is_up: whether a PT runs and is ready.
            waiting: how many connections wait, for their first byte or for a PT.
            dialling: how many are being made to the other side.
        """
        # Of countries that nobody knows.
        uncounted = {UNKNOWN: len(self.clients)} if config.server else {}
        return Figures(
            name=name,
            side=SERVER if config.server else CLIENT,
            transport=",".join(config.transports),
            is_up=is_up,
            open=len(tunnels) + len(sessions.streams),
            opened=tunnels.opened + sessions.opened,
            outbound=tunnels.outbound + sessions.outbound,
            inbound=tunnels.inbound + sessions.inbound,
            waiting=waiting,
            dialling=dialling,
            ready=sessions.idle,
            handshakes=self.handshakes,
            failures=self.failures.by_cause - self.refusals,
            refusals=self.refusals,
            cuts=tunnels.cuts + sessions.cuts,
            reused=sessions.reused,
            dropped=0 if self.udp is None else self.udp.number_dropped,
            restarts=self.restarts,
            countries=self.countries or uncounted,
        )
