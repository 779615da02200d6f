"""A host that closes for good leaves its connection through the PT to the next one.

The server's PT stands still meanwhile: for the client that is a long path, and the end
of the stream that is left cannot have come back.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from chaos.stage import bridge, pt
from integration.support.faults import stop
from integration.support.pairings import OBFS4, WEBTUNNEL, Pairing, network, within

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psutil

    from integration.support.ends import Line, Tunnel
    from integration.support.pairings import Network

LIMIT = 100.0  # seconds that it may take
STILL = 0.4  # seconds: less than ACCEPT may take before it is late
SIZE = 50_000  # bytes
# Whether the client hears of the end before the next host comes is for the system to
# say: so often it is tried.
TRIES = 10


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    with network(tmp_path_factory.mktemp("left")) as made:
        yield made


@pytest.mark.parametrize("pairing", [*OBFS4, *WEBTUNNEL], ids=str)
def test_the_next_host_has_its_connection_and_every_byte_arrives(
    net: Network, pairing: Pairing
) -> None:
    def without_spares(line: str) -> str:
        return f"{pairing.client(line)};preconnect=0"

    for _ in range(TRIES):
        line = net.new_line(pairing._replace(client=without_spares))
        connections: list[int] = []
        net.run(within(LIMIT, leave(line, connections)), LIMIT)
        assert not line.is_awaited, "the service was reached once too often"
        if connections == [1, 1]:
            return
    raise AssertionError(f"none was left in {TRIES} tries")


async def leave(line: Line, connections: list[int]) -> None:
    """Carry two hosts, one after the other; count connections to the PT for each."""
    server_pt = pt(line.server)
    await line.others_work()  # a handshake's time is not that of ACCEPT
    async with asyncio.TaskGroup() as group:
        group.create_task(stop(server_pt, STILL))
        await asyncio.sleep(0)
        async with line.tunnel() as first:
            connections.append(to_pt(bridge(line.client)))
            await answer(first)
            await first.client.send(SIZE)
            await first.server.receive(SIZE)
            group.create_task(first.server.receive_end())
            group.create_task(stop(server_pt, STILL))
            await asyncio.sleep(0)
            first.client.close()  # with nothing else to read: else it comes too late
            async with line.tunnel() as second:
                connections.append(to_pt(bridge(line.client)))
                await answer(second)
                await first.server.send_until_refused()


async def answer(tunnel: Tunnel) -> None:
    """Carry something to the host."""
    async with asyncio.TaskGroup() as group:
        group.create_task(tunnel.client.receive(SIZE))
        await tunnel.server.send(SIZE)


def to_pt(client: psutil.Process) -> int:
    """Return how many connections through its PT a client has."""
    (port,) = {
        each.laddr.port
        for each in client.children()[0].net_connections("tcp")
        if each.status == "LISTEN"
    }
    return sum(
        bool(each.raddr) and each.raddr.port == port
        for each in client.net_connections("tcp")
    )
