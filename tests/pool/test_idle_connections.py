"""Which connection is used next, and how those that are not used end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pt_bridge.pool.idle_connections import MAX_IDLE
from tests.support.rig import rig
from tests.support.tcp import is_reset, turn_until

if TYPE_CHECKING:
    import socket

    from tests.support.rig import Rig


async def end(r: Rig, host: socket.socket, service: socket.socket) -> None:
    """Have one stream end, and its connection become idle."""
    idle = r.client.idle
    host.close()
    service.close()
    await turn_until(lambda: r.client.idle > idle)


async def test_no_more_are_kept_than_a_burst_may_need() -> None:
    with rig() as r:
        await r.make_idle(MAX_IDLE + 3)
        assert r.client.idle == MAX_IDLE
        await r.pass_by(5.0)
        assert r.client.connections == MAX_IDLE


async def test_the_one_that_was_used_last_is_used_next() -> None:
    """Its congestion window has had the least time to shrink."""
    with rig() as r:
        pairs = [await r.both_beside() for _ in range(3)]
        for each in (pairs[0], pairs[2], pairs[1]):
            await end(r, *each)
        _, service = await r.both()
        r.lines[1].cut()
        assert await is_reset(service)


async def test_one_that_was_used_comes_before_one_that_was_only_made() -> None:
    """Its congestion window has grown."""
    with rig() as r:
        host, service = await r.both()
        r.dials = False
        other = r.carry(b"1st")
        host.close()
        service.close()
        await turn_until(lambda: len(r.services) == 2)
        r.dialled.pop()(r.line().client)
        assert r.client.idle == 1
        await end(r, other, r.services[1])
        r.carry(b"2nd")
        assert (r.client.idle, r.client.reused) == (1, 2)


async def test_all_end_at_once_when_the_pt_has_gone() -> None:
    with rig() as r:
        await r.make_idle(3)
        r.client.suspend()
        assert (r.client.idle, r.client.connections) == (0, 0)
