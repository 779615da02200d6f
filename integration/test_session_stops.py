"""Nothing is lost where a PT stands still for a while.

A tunnel of each way to close is in the middle of its bytes when that happens.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

import psutil
import pytest

from chaos.stage import pt
from integration.support import closing
from integration.support.ends import SIDES
from integration.support.faults import stop
from integration.support.pairings import (
    LYREBIRD,
    OBFS4PROXY,
    PAIRINGS,
    Pairing,
    network,
    obfs4,
    within,
)

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

    from integration.support.ends import Line
    from integration.support.pairings import Network

# How long a tunnel may take (seconds).
AFTER = 300.0
# How long a PT stands still (seconds), and after how many bytes of an answer.
STILL = 2.0
HAVE_COME = 100_000
STOPPED_SIZE = 500_000
STOPPED = (*PAIRINGS, obfs4(OBFS4PROXY, LYREBIRD, iat=(1, 1)))


class Stop(NamedTuple):
    """A PT that stands still, seen by one tunnel.

    Attributes:
        side: whose PT.
        pairing: over which PTs.
        case: how the tunnel ends; None for the one that tells when to stop it.
    """

    side: str
    pairing: Pairing
    case: closing.Case | None

    def __str__(self) -> str:
        case = "the first"
        if self.case is not None:
            case = self.case.__name__.replace("_", " ")
        return f"the {self.side}'s, {self.pairing}, {case}"


ALL_STOPS = [
    Stop(side, pairing, case)
    for side in SIDES
    for pairing in STOPPED
    for case in (None, *closing.CASES)
]


class Stops:
    """All pairings at once, and their two PTs one after the other.

    Attributes:
        wrong: what went wrong, by the attempt.
        surplus: over which pairings the service was reached by somebody whom nobody
            had sent.
    """

    def __init__(self, net: Network) -> None:
        """Let them stand still, and go on."""
        self.wrong: dict[Stop, Exception] = {}
        lines = {pairing: net.start(pairing) for pairing in STOPPED}
        net.run(self._all(lines), 4 * AFTER)
        self.surplus = {pairing for pairing, line in lines.items() if line.is_awaited}

    async def _all(self, lines: dict[Pairing, Line]) -> None:
        async with asyncio.TaskGroup() as group:
            for pairing, line in lines.items():
                group.create_task(self._one(pairing, line))

    async def _one(self, pairing: Pairing, line: Line) -> None:
        for side in SIDES:
            process = pt(line.client if side == "client" else line.server)
            line.gather(len(closing.CASES) + 1)
            async with asyncio.TaskGroup() as group:
                for case in closing.CASES:
                    attempt = Stop(side, pairing, case)
                    group.create_task(self._judge(attempt, case(line, STOPPED_SIZE)))
                attempt = Stop(side, pairing, None)
                await self._judge(attempt, self._stop_amid(line, process))

    async def _stop_amid(self, line: Line, process: psutil.Process) -> None:
        """Stop it once bytes have come, and have it go on; see the tunnel through."""
        async with line.tunnel() as tunnel, asyncio.TaskGroup() as group:
            group.create_task(tunnel.server.send(STOPPED_SIZE))
            await tunnel.client.receive(HAVE_COME)
            await stop(process, STILL)
            await tunnel.client.receive(STOPPED_SIZE - HAVE_COME)

    async def _judge(
        self, attempt: Stop, what: Coroutine[object, object, None]
    ) -> None:
        try:
            await within(AFTER, what)
        except Exception as error:  # whatever it is, it is judged
            self.wrong[attempt] = error


@pytest.fixture(scope="module")
def stops(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stops]:
    """Return what went wrong."""
    with network(tmp_path_factory.mktemp("stops")) as net:
        yield Stops(net)


@pytest.mark.parametrize("attempt", ALL_STOPS, ids=str)
def test_nothing_is_lost_where_a_pt_stands_still(stops: Stops, attempt: Stop) -> None:
    if attempt in stops.wrong:
        raise stops.wrong[attempt]


@pytest.mark.parametrize("pairing", STOPPED, ids=str)
def test_the_service_is_reached_once_for_each_tunnel(
    stops: Stops, pairing: Pairing
) -> None:
    wrong = [attempt for attempt in stops.wrong if attempt.pairing == pairing]
    assert pairing not in stops.surplus, f"once too often; went wrong: {wrong}"
