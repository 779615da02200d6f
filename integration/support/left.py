"""What is left of tunnels that have ended, in pt-bridge and in the PTs."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from typing import TYPE_CHECKING

from integration.support import closing, meek_server
from integration.support.pairings import MEEK_LITE, PAIRINGS, within
from integration.support.programs import DEADLINE, wait_until

if TYPE_CHECKING:
    from integration.support.ends import Line
    from integration.support.pairings import Network, Pairing

CLOSED = 200
SIZES = (0, 1, 1_000, 200_019)
# How many of those are open at a time: so connections are used again, too.
TOGETHER = 25
# What an idle connection lives at most (seconds): a client says BYE after 20 to 45, a
# server lets go after 60. But where a client's leg was reset amid an answer, meek
# carries no end, and the server hears of it when the stand-in lets go.
LEFT_WITHIN = max(60.0, meek_server.LASTS + meek_server.LOOK) + DEADLINE
MANY = 4 * DEADLINE


class Left:
    """What is left of tunnels that were closed in all the ways, over all pairings.

    Attributes:
        sockets: how many there are more than at first, and where.
        wrong: what went wrong with the tunnels themselves.
    """

    def __init__(self, net: Network) -> None:
        """Open and close them; wait until nothing is left, or should be."""
        self._lines = {pairing: net.start(pairing) for pairing in PAIRINGS}
        self.wrong: dict[Pairing, list[Exception]] = {it: [] for it in PAIRINGS}
        net.run(self._close_all(), MANY)
        for pairing, line in self._lines.items():
            if line.is_awaited:
                error = AssertionError("the service was reached once too often")
                self.wrong[pairing].append(error)
        with contextlib.suppress(AssertionError):  # each test says what is left of it
            wait_until(
                lambda: not any(map(self._surplus, PAIRINGS)),
                "",
                within=LEFT_WITHIN,
                retry=5,
            )
        self.sockets = {pairing: self._surplus(pairing) for pairing in PAIRINGS}

    def _surplus(self, pairing: Pairing) -> dict[str, int]:
        """Return how many sockets there are more than at first, and where."""
        surplus = self._lines[pairing].remains.surplus()
        if pairing is MEEK_LITE:
            # Its PTs have no end to go by: the stand-in lets go after a while.
            return {name: n for name, n in surplus.items() if "PT" not in name}
        return surplus

    async def _close_all(self) -> None:
        async with asyncio.TaskGroup() as group:
            for pairing, line in self._lines.items():
                group.create_task(self._close(line, self.wrong[pairing]))

    async def _close(self, line: Line, wrong: list[Exception]) -> None:
        cases = itertools.cycle(closing.CASES)
        sizes = itertools.cycle(SIZES)
        room = asyncio.Semaphore(TOGETHER)

        async def close_one() -> None:
            async with room:
                case, size = next(cases), next(sizes)
                try:
                    await within(DEADLINE, case(line, size))
                except Exception as error:  # whatever it is, it is judged
                    error.add_note(f"{case.__name__}, {size} bytes")
                    wrong.append(error)

        async with asyncio.TaskGroup() as group:
            for _ in range(CLOSED):
                group.create_task(close_one())
