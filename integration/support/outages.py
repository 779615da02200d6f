"""Wires that are dead for a while, and what tunnels make of it.

Each length of an outage is tried over several pairings of PTs, each with a line of its
own, and all at once: so they take as long as the longest. An outage ends with the next
packet that the kernel tries again, and between two tries it waits twice as long as
before: after 40 s, for as long again.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from integration.support import closing
from integration.support.faults import Wire
from integration.support.pairings import MEEK_LITE, OBFS4, WEBTUNNEL, Pairing, within
from integration.support.programs import DEADLINE

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from integration.support.ends import Line
    from integration.support.pairings import Network

    Moment = Callable[["Line", "Start"], Coroutine[object, object, None]]

# Bytes of an answer: more than the buffers of a leg take at first.
SIZE = 200_019
MUCH = 3_000_000
# The outages (seconds), and over what each is tried.
OUTAGES = {
    8: (OBFS4[0], OBFS4[3], WEBTUNNEL[0]),
    14: (OBFS4[1], OBFS4[2], WEBTUNNEL[1], MEEK_LITE),
    40: (OBFS4[0], OBFS4[3], WEBTUNNEL[0]),
}
# How long a tunnel may take after the wire is whole again (seconds).
AFTER = 300.0


class Start:
    """Where tunnels wait until all are ready, and the wire is dead."""

    def __init__(self, count: int) -> None:
        """Wait for so many."""
        self._all_are_ready = asyncio.Barrier(count + 1)
        self._is_dead = asyncio.Event()

    async def is_dead(self) -> None:
        """Wait until the wire is dead."""
        await self._all_are_ready.wait()
        await self._is_dead.wait()

    async def are_ready(self) -> None:
        """Return when all are ready."""
        await self._all_are_ready.wait()

    def wire_died(self) -> None:
        """Let all go on."""
        self._is_dead.set()


async def the_answer_and_its_end_are_under_way(line: Line, wire: Start) -> None:
    """The service has written it, and is gone."""
    async with line.tunnel() as tunnel:
        await wire.is_dead()
        await tunnel.server.send(SIZE)
        tunnel.server.close()
        await tunnel.client.receive_end(SIZE)


async def the_upload_and_its_end_are_under_way(line: Line, wire: Start) -> None:
    """The client has written it, and is gone."""
    async with line.tunnel() as tunnel, asyncio.TaskGroup() as group:
        await wire.is_dead()
        group.create_task(tunnel.server.receive_end(SIZE))
        await tunnel.client.send(SIZE)
        tunnel.client.close()


async def the_answer_to_what_has_ended_is_amid(line: Line, wire: Start) -> None:
    """The client has said its end long ago, and the answer goes on."""
    async with line.tunnel() as tunnel:
        tunnel.client.half_close()
        await tunnel.server.receive_end()
        await tunnel.server.send(SIZE)
        await tunnel.client.receive(SIZE)
        await wire.is_dead()
        async with asyncio.TaskGroup() as group:
            group.create_task(tunnel.client.receive_end(MUCH))
            await tunnel.server.send(MUCH)
            tunnel.server.close()


async def both_are_amid(line: Line, wire: Start) -> None:
    """Both send; their ends are said while the wire is dead, or after it."""
    async with line.tunnel() as tunnel, asyncio.TaskGroup() as group:
        for end in (tunnel.client, tunnel.server):
            end.be_slow()
        up = group.create_task(tunnel.client.send(MUCH))
        up.add_done_callback(lambda _: tunnel.client.half_close())
        down = group.create_task(tunnel.server.send(MUCH))
        down.add_done_callback(lambda _: tunnel.server.half_close())
        await tunnel.client.receive(SIZE)
        await tunnel.server.receive(SIZE)
        await wire.is_dead()
        group.create_task(tunnel.client.receive_end(MUCH - SIZE))
        group.create_task(tunnel.server.receive_end(MUCH - SIZE))


async def it_begins(line: Line, wire: Start) -> None:
    """Somebody connects while the wire is dead."""
    await wire.is_dead()
    await closing.the_server_answers_and_closes(line, SIZE)


MOMENTS: tuple[Moment, ...] = (
    the_answer_and_its_end_are_under_way,
    the_upload_and_its_end_are_under_way,
    the_answer_to_what_has_ended_is_amid,
    both_are_amid,
    it_begins,
)


class Outage(NamedTuple):
    """One outage, seen by one tunnel.

    Attributes:
        seconds: how long.
        pairing: over which PTs.
        moment: what the tunnel is doing.
    """

    seconds: int
    pairing: Pairing
    moment: Moment

    def __str__(self) -> str:
        moment = self.moment.__name__.replace("_", " ")
        return f"{self.seconds} s, {self.pairing}, {moment}"


ALL_OUTAGES = [
    Outage(seconds, pairing, moment)
    for seconds, pairings in OUTAGES.items()
    for pairing in pairings
    for moment in MOMENTS
]


class Outages:
    """All of them at once.

    Attributes:
        wrong: what went wrong, by the outage.
        surplus: in which outages, by their seconds and pairing, the service was reached
            by somebody whom nobody had sent.
    """

    def __init__(self, net: Network) -> None:
        """Begin, and wait until all are over."""
        self._wire = Wire(net.site)
        self.wrong: dict[Outage, Exception] = {}
        lines = {
            (seconds, pairing): net.start(pairing)
            for seconds, pairings in OUTAGES.items()
            for pairing in pairings
        }
        net.run(self._all(lines), max(OUTAGES) + 2 * AFTER)
        self.surplus = {place for place, line in lines.items() if line.is_awaited}

    async def _all(self, lines: dict[tuple[int, Pairing], Line]) -> None:
        async with asyncio.TaskGroup() as group:
            for (seconds, pairing), line in lines.items():
                group.create_task(self._one(seconds, pairing, line))

    async def _one(self, seconds: int, pairing: Pairing, line: Line) -> None:
        start = Start(len(MOMENTS))
        await line.others_work()
        async with asyncio.TaskGroup() as group:
            for moment in MOMENTS:
                outage = Outage(seconds, pairing, moment)
                group.create_task(self._judge(outage, moment(line, start)))
            await start.are_ready()
            async with self._wire.outage(line.remote[1], seconds):
                start.wire_died()
        await within(DEADLINE, line.others_work())

    async def _judge(
        self, outage: Outage, what: Coroutine[object, object, None]
    ) -> None:
        try:
            await within(outage.seconds + AFTER, what)
        except Exception as error:  # whatever it is, it is judged
            self.wrong[outage] = error
