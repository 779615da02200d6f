"""What a bridge counts, and what an operator is told of it."""

from __future__ import annotations

import asyncio

import pytest

from pt_bridge.metrics.figures import Figures
from pt_bridge.options.config import Config
from pt_bridge.options.ss_variables import variables_from_flags
from pt_bridge.relay.pipes import PipePool
from pt_bridge.relay.tunnels import Tunnels
from pt_bridge.session.sessions import Limits, Sessions
from pt_bridge.status.counts import Counts


def figures(counts: Counts, flags: dict[str, str | None]) -> Figures:
    variables = variables_from_flags(
        local="127.0.0.1:1", remote="127.0.0.1:2", plugin_options="transport=obfs3"
    )
    config = Config(variables, flags=flags)
    loop = asyncio.get_running_loop()
    tunnels = Tunnels(loop, config, lambda: None)
    tunnels.opened, tunnels.cuts = 1, 2
    sessions = Sessions(loop, PipePool(most=1), Limits(), lambda: None)
    sessions.opened, sessions.cuts, sessions.reused = 30, 40, 50
    return counts.figures(
        config, tunnels, sessions, name="a", is_up=True, waiting=6, dialling=7
    )


async def test_tunnels_with_and_without_a_session_are_counted_together() -> None:
    told = figures(Counts(), {})
    assert (told.opened, told.cuts, told.reused) == (31, 42, 50)
    assert (told.waiting, told.dialling, told.ready) == (6, 7, 0)


async def test_who_was_refused_is_no_failure_besides() -> None:
    """Each connection stands in one of the two."""
    counts = Counts()
    counts.refuse("on the deny list")
    counts.failures.add("no answer in time")
    told = figures(counts, {})
    assert told.refusals == {"on the deny list": 1}
    assert told.failures == {"no answer in time": 1}
    assert counts.failures.by_cause.total() == 2


@pytest.mark.parametrize(
    ("flags", "side", "countries"),
    [({}, "client", {}), ({"server": None}, "server", {"??": 1})],
)
async def test_clients_whose_country_is_unknown_are_counted_so(
    flags: dict[str, str | None], side: str, countries: dict[str, int]
) -> None:
    """A client has no clients."""
    counts = Counts()
    counts.clients.add("192.0.2.1")
    told = figures(counts, flags)
    assert (told.side, told.countries) == (side, countries)


class Drops:
    """Datagrams that were dropped."""

    number_dropped = 3


async def test_datagrams_that_were_dropped_are_counted_where_they_are() -> None:
    counts = Counts()
    assert figures(counts, {}).dropped == 0
    counts.udp = Drops()
    assert figures(counts, {}).dropped == 3
