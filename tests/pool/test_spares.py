"""Connections that are made before a stream asks for them."""

from __future__ import annotations

from pt_bridge.errors import Unanswered
from pt_bridge.pool.preconnect import MOST_GAP, QUIET
from pt_bridge.session.idle_period import IDLE_MOST
from tests.support.rig import rig
from tests.support.tcp import read, turn_until, write


async def test_one_is_made_beside_the_first_stream_and_carries_the_next() -> None:
    with rig(preconnect=None) as r:
        await r.both()
        assert (len(r.lines), r.client.idle) == (1, 0)  # no burst at the start
        await r.until(lambda: r.client.idle == 1)
        await r.pass_by(3.0)
        assert (len(r.lines), r.client.idle) == (2, 1)
        host, service = await r.both_beside()
        await write(host, b"x")
        assert await read(service, 1) == b"x"
        assert (len(r.lines), r.client.reused) == (2, 0)


async def test_so_many_are_made_as_were_asked_for_one_after_the_other() -> None:
    with rig(preconnect=4) as r:
        r.dials = False
        r.carry(b"x")
        await turn_until(lambda: r.dialled)
        await r.pass_by(1.0)
        assert len(r.dialled) == 2  # the stream's own, and the first
        r.dials = True
        for each in r.dialled:
            each(r.line().client)
        r.dialled.clear()
        await r.until(lambda: r.client.idle == 4)
        await r.pass_by(QUIET)
        assert (len(r.lines), r.client.idle) == (5, 4)


async def test_none_is_made_again_when_it_is_quiet() -> None:
    with rig(preconnect=2) as r:
        host, service = await r.both()
        await r.until(lambda: r.client.idle == 2)
        host.close()
        service.close()
        await r.over()
        await r.pass_by(IDLE_MOST + 5)
        assert (len(r.lines), r.client.connections, r.server.connections) == (3, 0, 0)


async def test_one_that_cannot_be_made_is_not_tried_again_by_itself() -> None:
    with rig(preconnect=2) as r:
        await r.both()
        r.dials = Unanswered("no answer")
        await r.pass_by(QUIET)
        r.dials = True
        await r.pass_by(QUIET)
        assert len(r.lines) == 1
        await r.both_beside()
        await r.until(lambda: r.client.idle == 2)


async def test_none_is_made_before_the_server_is_known_to_speak_the_session() -> None:
    with rig(detects=True, preconnect=2) as r:
        r.reaches = False
        r.carry(b"first")
        await turn_until(lambda: r.asked)
        await r.pass_by(2.0)
        assert len(r.lines) == 1
        r.asked.pop()(r.service())
        r.reaches = True
        await r.both_beside()
        await r.until(lambda: r.client.idle == 2)


async def test_none_is_made_without_a_pt_and_one_that_comes_late_is_dropped() -> None:
    with rig(preconnect=1) as r:
        await r.both()
        r.dials = False
        await r.until(lambda: r.dialled)
        r.client.suspend()
        line = r.line()
        r.dialled.pop()(line.client)
        assert line.client.fileno() < 0
        await r.pass_by(2 * MOST_GAP)
        assert not r.dialled
