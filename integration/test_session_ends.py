"""Every way to end a tunnel, over every PT: the session says the end itself.

What is tried:

* all ways x 0, 1 and 1,000 bytes over all pairings;
* all ways x 3,000,000 or 10,000,000 bytes over all pairings: a pairing and a way have
  one of the two, in turn, so that each way has both over some pairing, and each pairing
  over some way;
* all ways over obfs4 with each pair of iat-modes, with one small size each, in turn.

The ways of one pairing go on at once, some at a time, as tunnels do: so connections are
used again, and new ones made.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
from typing import TYPE_CHECKING, NamedTuple

import pytest

from chaos.stage import pt
from integration.support import closing
from integration.support.pairings import (
    IAT_CRASH,
    IAT_MODES,
    LYREBIRD,
    OBFS4PROXY,
    PAIRINGS,
    Pairing,
    network,
    obfs4,
    within,
)
from integration.support.programs import DEADLINE, exited, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.support.closing import Case
    from integration.support.ends import Line
    from integration.support.pairings import Network

SMALL = (0, 1, 1_000)
BIG = (3_000_000, 10_000_000)
# With an iat-mode each frame of obfs4 waits for some milliseconds.
IAT_SIZES = (0, 1, 1_000, 30_000)
AT_ONCE = 12
# How often a PT may crash of its own, with an iat-mode of 2.
IAT_CRASHES = 5
STARTED_AGAIN = "; starting the PT again in "
# How long one may take beside the others (seconds).
PATIENCE = 3 * DEADLINE


class Attempt(NamedTuple):
    """One way to end a tunnel.

    Attributes:
        pairing: over which PTs.
        case: the way.
        size: after how many bytes.
    """

    pairing: Pairing
    case: Case
    size: int

    def __str__(self) -> str:
        return f"{self.pairing}, {self.case.__name__.replace('_', ' ')}, {self.size}"


ENDS = [
    *(Attempt(*each) for each in itertools.product(PAIRINGS, closing.CASES, SMALL)),
    *(
        Attempt(pairing, case, BIG[(row + column) % len(BIG)])
        for row, pairing in enumerate(PAIRINGS)
        for column, case in enumerate(closing.CASES)
    ),
]
# Each pair of programs with each pair of modes, but for (0, 0), which the others have.
IAT_PAIRINGS = [
    obfs4(*programs, iat=(iat[0], iat[1]))
    for programs, iat in zip(
        itertools.cycle(itertools.product((OBFS4PROXY, LYREBIRD), repeat=2)),
        [iat for iat in itertools.product(IAT_MODES, repeat=2) if any(iat)],
        strict=False,
    )
]
IAT_ENDS = [
    Attempt(pairing, case, IAT_SIZES[(row + column) % len(IAT_SIZES)])
    for row, pairing in enumerate(IAT_PAIRINGS)
    for column, case in enumerate(closing.CASES)
]


class Outcomes:
    """What went wrong, of all that was tried over each pairing so far."""

    def __init__(self, net: Network) -> None:
        """Try nothing yet."""
        self._net = net
        self._wrong: dict[Attempt, Exception] = {}
        self._said: dict[Pairing, str] = {}
        self._tried: set[str] = set()

    def judge(self, attempt: Attempt) -> None:
        """Try all over its pairing, unless that was done; raise what went wrong."""
        if attempt.pairing.name not in self._tried:
            self._tried.add(attempt.pairing.name)
            line = self._try_all(self._net.line(attempt.pairing), attempt.pairing)
            for _ in range(IAT_CRASHES):
                if IAT_CRASH in line.said:
                    line = self._net.new_line(attempt.pairing)
                    self._try_all(line, attempt.pairing)
            self._said[attempt.pairing] = line.said
            assert not line.is_awaited, "the service was reached once too often"
        if attempt in self._wrong:
            raise AssertionError(self._said[attempt.pairing]) from self._wrong[attempt]

    def _try_all(self, line: Line, pairing: Pairing) -> Line:
        """Try all over a line; return it, once it has told of a PT that has crashed."""
        attempts = [each for each in (*ENDS, *IAT_ENDS) if each.pairing == pairing]
        for attempt in attempts:
            self._wrong.pop(attempt, None)
        with contextlib.ExitStack() as stack:
            pts = [os.pidfd_open(pt(each).pid) for each in (line.client, line.server)]
            for each in pts:
                stack.callback(os.close, each)
            self._net.run(self._try(line, attempts), len(attempts) * PATIENCE)
            # Connections are cut before pt-bridge has said why.
            if any(exited(each, 0) for each in pts):
                wait_until(lambda: STARTED_AGAIN in line.said, "why a PT has ended")
        return line

    async def _try(self, line: Line, attempts: list[Attempt]) -> None:
        room = asyncio.Semaphore(AT_ONCE)
        async with asyncio.TaskGroup() as group:
            for attempt in attempts:
                group.create_task(self._try_one(line, attempt, room))

    async def _try_one(
        self, line: Line, attempt: Attempt, room: asyncio.Semaphore
    ) -> None:
        async with room:
            try:
                await within(PATIENCE, attempt.case(line, attempt.size))
            except Exception as error:  # whatever it is, it is judged
                self._wrong[attempt] = error


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcomes]:
    """Return what went wrong."""
    with network(tmp_path_factory.mktemp("ends")) as net:
        yield Outcomes(net)


@pytest.mark.parametrize("attempt", ENDS, ids=str)
def test_all_arrives_and_then_the_end_over(
    outcomes: Outcomes, attempt: Attempt
) -> None:
    outcomes.judge(attempt)


@pytest.mark.parametrize("attempt", IAT_ENDS, ids=str)
def test_all_arrives_and_then_the_end_with_iat_modes_over(
    outcomes: Outcomes, attempt: Attempt
) -> None:
    outcomes.judge(attempt)
