"""A PT is replaced under open tunnels, over the real programs: nothing is cut."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from typing import TYPE_CHECKING

import pytest

from integration.support.ends import Folders, Line
from integration.support.pairings import OBFS4, Pairing, within
from integration.support.programs import (
    DEADLINE,
    LYREBIRD_FOLDER,
    find,
    path_folders,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from integration.support.ends import Tunnel
    from integration.support.machine import Machine
    from integration.support.programs import Program

TUNNELS = 100
SIZE = 100_000  # bytes each way, before and after
READY = "ready: "
PATH = os.pathsep.join([LYREBIRD_FOLDER, *path_folders()])
WITH_A_FRONT = Pairing(
    "obfs4proxy behind a front",
    "transport=obfs4;exec=obfs4proxy;front=yes",
    lambda line: f"{line};exec=lyrebird",
)


@pytest.fixture(params=[OBFS4[0], OBFS4[3], WITH_A_FRONT], ids=str)
def line(request: pytest.FixtureRequest, machine: Machine) -> Iterator[Line]:
    """Return ``pt-bridge client`` and ``server``, each with a PT."""
    pairing: Pairing = request.param
    line = Line(machine, server_options=pairing.server, client_options=pairing.client)
    with contextlib.closing(line):
        yield line


async def exchange(tunnel: Tunnel) -> None:
    """Send checked content both ways."""
    async with asyncio.TaskGroup() as group:
        group.create_task(tunnel.client.send(SIZE))
        group.create_task(tunnel.server.send(SIZE))
        group.create_task(tunnel.client.receive(SIZE))
        group.create_task(tunnel.server.receive(SIZE))


async def replace(program: Program) -> None:
    """Have the PT replaced, and wait for the new one."""
    said = len(program.output)
    program.signal(signal.SIGUSR2)
    await asyncio.to_thread(program.wait_for, READY, after=said)


async def close(tunnel: Tunnel) -> None:
    """End both directions, each with its EOF."""
    tunnel.client.half_close()
    await tunnel.server.receive_end()
    tunnel.server.half_close()
    await tunnel.client.receive_end()


async def carry(line: Line) -> None:
    """Keep 100 tunnels over both replacements, while others come and go."""
    async with contextlib.AsyncExitStack() as stack:
        tunnels = [
            await stack.enter_async_context(line.tunnel()) for _ in range(TUNNELS)
        ]
        await asyncio.gather(*map(exchange, tunnels))
        for program in (line.client, line.server):
            replacing = asyncio.ensure_future(replace(program))  # noqa: TID251
            while not replacing.done():
                await line.others_work()  # nobody is refused meanwhile
            await replacing
            await asyncio.gather(*map(exchange, tunnels))
            await line.others_work()
        await asyncio.gather(*map(close, tunnels))


def test_100_tunnels_outlive_their_pts(line: Line) -> None:
    asyncio.run(within(4 * DEADLINE, carry(line)))
    line.client.wait_for("the PT that was replaced has ended")
    assert not line.is_awaited, "the service was reached once too often"


FAILS = "#!/bin/sh\nexit 1\n"
HANGS = "#!/bin/sh\nexec sleep 600\n"


class Programs:
    """A folder for each side, where a PT is upgraded to one that does not work."""

    def __init__(self, folder: Path, name: str) -> None:
        self._places = [folder / side / name for side in ("client", "server")]
        for place in self._places:
            place.parent.mkdir(mode=0o755)
            shutil.copy(find(place.name, path=PATH), place)
        client, server = (str(place.parent) for place in self._places)
        self.folders = Folders(client, server)

    def spoil(self, number: int, text: str) -> None:
        """Put a program that is none in the place of a PT, as an upgrade does."""
        place = self._places[number]
        new = place.with_name("new")
        new.write_text(text)
        new.chmod(0o755)
        os.replace(new, place)


async def go_on(line: Line, programs: Programs) -> None:
    """Keep tunnels, and open others, whatever the new PT is."""
    async with contextlib.AsyncExitStack() as stack:
        tunnels = [await stack.enter_async_context(line.tunnel()) for _ in range(20)]
        for number, text in enumerate((FAILS, HANGS)):
            program = (line.client, line.server)[number]
            said = len(program.output)
            programs.spoil(number, text)
            program.signal(signal.SIGHUP)
            waiting = asyncio.to_thread(
                program.wait_for, "the new PT was not taken: ", after=said
            )
            await asyncio.gather(waiting, *map(exchange, tunnels))
            await asyncio.gather(*map(exchange, tunnels))
            await line.others_work()
        await asyncio.gather(*map(close, tunnels))


@pytest.mark.waits
@pytest.mark.parametrize("front", ["", ";front=yes"])
@pytest.mark.parametrize("name", ["obfs4proxy", "lyrebird"])
def test_a_new_pt_that_does_not_work_costs_nothing(
    machine: Machine, tmp_path: Path, name: str, front: str
) -> None:
    """With a front and without; on the client, and on the server."""
    programs = Programs(tmp_path, name)
    line = Line(
        machine,
        server_options=f"transport=obfs4;exec={name};start-timeout=5{front}",
        client_options=f";exec={name};start-timeout=5",
        folders=programs.folders,
    )
    with contextlib.closing(line):
        asyncio.run(within(4 * DEADLINE, go_on(line, programs)))
        assert not line.is_awaited
