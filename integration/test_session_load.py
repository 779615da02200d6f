"""Many tunnels at once: an end waits for nobody."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import time
from typing import TYPE_CHECKING

import pytest

from integration.support import closing
from integration.support.pairings import OBFS4, network
from integration.support.programs import DEADLINE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from integration.support.ends import Line, Tunnel
    from integration.support.pairings import Network, Pairing

# obfs4proxy with itself, and lyrebird; and both in one line, for what takes long.
ALIKE = (OBFS4[0], OBFS4[3])
MIXED = OBFS4[1]
IDLE, BULK = 600, 3
AT_ONCE = 2_000
# Bytes of the answer whose end must arrive beside them.
SIZE = 200_019
WARM_UP = 100_000
# Descriptors: two for each tunnel, and some.
MOST_DESCRIPTORS = 20_000
MANY = 4 * DEADLINE
BESIDE = (
    closing.the_server_answers_and_closes,
    closing.the_client_sends_and_closes,
    closing.the_client_half_closes,
)


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """Return a network, and us room for as many sockets as we want."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(MOST_DESCRIPTORS, hard), hard))
    try:
        with network(tmp_path_factory.mktemp("load")) as net:
            yield net
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("pairing", ALIKE, ids=str)
def test_an_end_arrives_beside_busy_and_idle_tunnels(
    net: Network,
    pairing: Pairing,
    record_property: Callable[[str, object], None],
) -> None:
    """The goal is 1.5 s; what it took is printed and noted."""
    line = net.line(pairing)
    seconds: list[float] = []

    async def close_beside() -> None:
        async with contextlib.AsyncExitStack() as stack, asyncio.TaskGroup() as group:
            await _open(line, IDLE, stack)
            busy = []
            for tunnel in await _open(line, BULK, stack):
                busy.append(group.create_task(tunnel.server.send_until_refused()))
                await tunnel.client.receive(WARM_UP)
                busy.append(group.create_task(_read_on(tunnel)))
            for case in BESIDE:
                begun = time.monotonic()
                await case(line, SIZE)
                seconds.append(time.monotonic() - begun)
            for task in busy:
                task.cancel()

    net.run(close_beside(), MANY)
    record_property("seconds to the end", [round(each, 3) for each in seconds])
    print(f"{pairing}: {[round(each, 3) for each in seconds]} s")  # noqa: T201
    assert not line.is_awaited, "the service was reached once too often"


def test_2000_tunnels_are_open_at_once(net: Network) -> None:
    """Each carries bytes when all are open, and ends as it must."""
    line = net.line(MIXED)

    async def open_and_use() -> None:
        async with contextlib.AsyncExitStack() as stack:
            tunnels = await _open(line, AT_ONCE, stack)
            async with asyncio.TaskGroup() as group:
                for tunnel in tunnels:
                    group.create_task(_ask_and_answer(tunnel))

    net.run(open_and_use(), MANY)
    assert not line.is_awaited, "the service was reached once too often"


async def _open(
    line: Line, count: int, stack: contextlib.AsyncExitStack
) -> list[Tunnel]:
    """Open tunnels that stay until the stack unwinds."""
    return [await stack.enter_async_context(line.tunnel()) for _ in range(count)]


async def _read_on(tunnel: Tunnel) -> None:
    while True:
        await tunnel.client.receive(WARM_UP)


async def _ask_and_answer(tunnel: Tunnel) -> None:
    await tunnel.client.send(1_000)
    await tunnel.server.receive(1_000)
    await tunnel.server.send(1_000)
    tunnel.server.close()
    await tunnel.client.receive_end(1_000)
