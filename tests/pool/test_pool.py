"""The client's connections: ready ones that are used again, and those that go."""

from __future__ import annotations

from pt_bridge.protocol.frames import Cause
from pt_bridge.session.idle_period import IDLE_MOST
from tests.support.rig import Rig, rig
from tests.support.tcp import is_reset, read, turn_until, write


async def carried(r: Rig) -> None:
    """Check that a connection is carried."""
    host, service = await r.both()
    await write(host, b"x")
    assert await read(service, 1) == b"x"


async def test_a_connection_that_is_ready_is_used_before_a_new_one_is_made() -> None:
    with rig() as r:
        await r.make_idle()
        await carried(r)
        assert (len(r.lines), r.client.reused) == (1, 1)
        await r.both_beside()
        assert len(r.lines) == 2


async def test_those_that_are_not_used_take_leave_one_after_the_other() -> None:
    with rig() as r:
        await r.make_idle(5)
        await r.pass_by(IDLE_MOST + 5)
        assert (r.client.idle, r.client.connections, r.server.connections) == (0, 0, 0)


async def test_a_dead_idle_connection_takes_the_others_with_it() -> None:
    """They have been idle as long, and over the same wire."""
    with rig() as r:
        await r.make_idle(3)
        for line in r.lines:
            line.hold()
        host = r.carry(b"question")
        await turn_until(lambda: r.client.reused)
        await r.pass_by(4.0)
        await turn_until(lambda: len(r.services) == 4)
        assert await read(r.services[3], 8) == b"question"
        assert (len(r.lines), r.client.idle, r.client.tried_again) == (4, 0, 1)
        await write(host, b"x")


async def test_a_connection_that_the_pt_has_ended_is_not_used() -> None:
    with rig() as r:
        await r.make_idle(2)
        r.lines[0].cut()
        await turn_until(lambda: r.client.connections == 1)
        assert r.client.idle == 1


# -- the PT ----------------------------------------------------------------------------


async def test_idle_connections_go_with_their_pt() -> None:
    with rig() as r:
        await r.make_idle(3)
        r.client.suspend()
        assert (r.client.idle, r.client.connections) == (0, 0)


async def test_a_connection_that_becomes_free_after_the_pt_has_gone_takes_leave() -> (
    None
):
    with rig() as r:
        host, service = await r.both()
        r.client.suspend()
        host.close()
        service.close()
        await r.over()
        assert r.client.idle == 0
        await r.pass_by(5.0)
        assert r.client.connections == 0


async def test_a_refusal_is_told_of_and_resets_the_host() -> None:
    with rig() as r:
        r.reaches = Cause.BUSY
        host = r.carry(b"question")
        assert await is_reset(host)
        await r.over()
        assert [each.cause for each in r.refusals] == [Cause.BUSY]
        r.reaches = True
        await carried(r)
        assert len(r.lines) == 1


async def test_bytes_wait_for_accept_where_another_server_may_be_tried() -> None:
    """It could not know what the first one has heard."""
    with rig(is_early=False) as r:
        r.holds_lines = True
        host = r.carry(b"question")
        await turn_until(lambda: r.lines)
        r.holds_lines = False
        await r.until(lambda: len(r.lines) == 2)
        await turn_until(lambda: r.services)
        assert await read(r.services[0], 8) == b"question"
        assert r.stream.outbound == 8
        await write(r.services[0], b"x")
        assert await read(host, 1) == b"x"
