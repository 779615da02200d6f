"""Streams that are dialled for, wait for the next PT, or are tried on two at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pt_bridge.errors import ArgumentsRejected, LoginRefused, Unanswered
from pt_bridge.pool.redialling import DIAL_AGAIN_FOR, FIRST_WAIT
from pt_bridge.pool.tries import MAX_ATTEMPTS
from pt_bridge.protocol.frames import Cause
from tests.support.rig import PATIENCE, Rig, rig
from tests.support.tcp import is_reset, read, turn_until, write

if TYPE_CHECKING:
    import socket


# -- one that becomes free while another is made ---------------------------------------


async def freed(r: Rig) -> socket.socket:
    """Have a stream dialled for, and another end meanwhile; return its host's end."""
    first, service = await r.both()
    r.dials = False
    host = r.carry(b"question")
    first.close()
    service.close()
    await turn_until(lambda: r.client.reused == 1)
    assert len(r.dialled) == 1
    return host


async def heard(r: Rig) -> bytes:
    """Return the question, as the second service has it."""
    await turn_until(lambda: len(r.services) == 2)
    return await read(r.services[1], 8)


async def test_a_stream_takes_a_connection_that_becomes_free_first() -> None:
    """One round trip, where a new one has a handshake to make."""
    with rig() as r:
        await freed(r)
        assert await heard(r) == b"question"
        r.dialled.pop()(r.line().client)
        assert (r.client.idle, r.client.tried_again) == (1, 0)  # for the next one
        assert r.client.connections == 2


async def test_a_stream_that_ends_before_its_own_connection_is_there_is_over() -> None:
    """The one that it ended on is free, and not for the same stream once more."""
    with rig() as r:
        host = await freed(r)
        assert await heard(r) == b"question"
        host.close()
        r.services[1].close()
        await turn_until(lambda: not r.client.streams)
        assert (r.client.idle, r.client.reused) == (1, 1)
        r.dialled.pop()(r.line().client)
        assert r.client.idle == 2


async def test_the_one_that_has_waited_longest_comes_first() -> None:
    with rig() as r:
        first, service = await r.both()
        r.dials = False
        for question in (b"question", b"2nd"):
            r.carry(question)
        first.close()
        service.close()
        assert await heard(r) == b"question"
        assert len(r.dialled) == 2


async def test_what_becomes_of_dialling_is_nothing_to_who_has_a_connection() -> None:
    with rig() as r:
        host = await freed(r)
        r.dialled.pop()(Unanswered("no answer"))
        assert await heard(r) == b"question"
        await write(r.services[1], b"answer")
        assert await read(host, 6) == b"answer"
        assert (r.client.tried_again, r.client.number_waiting) == (0, 0)


async def test_the_one_that_is_made_is_its_second_where_it_is_late() -> None:
    """No third one is made for it."""
    with rig() as r:
        await freed(r)
        r.lines[0].hold()
        await r.until(lambda: r.late)
        assert (len(r.dialled), r.client.tried_again) == (1, 1)
        r.dialled.pop()(r.line().client)
        assert await heard(r) == b"question"
        assert len(r.lines) == 2


async def test_one_whose_connection_is_lost_waits_for_the_one_that_is_made() -> None:
    with rig() as r:
        await freed(r)
        r.lines[0].cut()
        await turn_until(lambda: r.client.connections == 0)
        assert len(r.dialled) == 1
        r.dialled.pop()(r.line().client)
        assert await heard(r) == b"question"


# -- dialling --------------------------------------------------------------------------


async def test_a_server_that_is_away_for_a_moment_is_dialled_again() -> None:
    """It starts its PT again, and its clients need not know."""
    with rig() as r:
        r.dials = Unanswered("no answer")
        host = r.carry(b"question")
        await r.pass_by(FIRST_WAIT * 2)
        r.dials = True
        await r.pass_by(1.0, step=0.05)
        await turn_until(lambda: r.services)
        assert await read(r.services[0], 8) == b"question"
        await write(host, b"x")


async def test_a_server_that_stays_away_is_given_up() -> None:
    with rig() as r:
        r.dials = Unanswered("no answer")
        host = r.carry(b"question")
        await r.pass_by(DIAL_AGAIN_FOR - 0.5, step=0.05)
        assert r.client.streams
        await r.pass_by(2.0, step=0.05)
        assert await is_reset(host)
        assert (r.ended["client"], r.timers) == (1, 0)


@pytest.mark.parametrize(
    "error", [ArgumentsRejected("no"), LoginRefused("no")], ids=["arguments", "login"]
)
async def test_what_will_fail_again_is_not_tried_again(error: Exception) -> None:
    with rig() as r:
        r.dials = error
        host = r.carry(b"question")
        assert await is_reset(host)
        assert r.timers == 0


async def test_a_server_that_ends_every_connection_is_told_of() -> None:
    """It may speak no session, or be short of something: nothing else would say so."""
    with rig() as r:
        r.speaks_session = False
        host = r.carry(b"first")
        for number in range(1, MAX_ATTEMPTS + 1):
            assert r.unaccepted == 0
            await r.until(lambda: len(r.lines) == number)  # noqa: B023
            r.lines[-1].close()
        assert await is_reset(host)
        assert (len(r.lines), r.unaccepted) == (MAX_ATTEMPTS, 1)


async def test_a_stream_that_is_cut_while_it_is_dialled_for_drops_what_it_gets() -> (
    None
):
    with rig() as r:
        r.dials = False
        host = r.carry(b"question")
        await turn_until(lambda: r.dialled)
        r.client.cut()
        assert await is_reset(host)
        line = r.line()
        r.dialled.pop()(line.client)
        assert line.client.fileno() < 0


# -- the PT ----------------------------------------------------------------------------


async def test_without_a_pt_a_stream_waits_for_the_next() -> None:
    with rig() as r:
        r.client.suspend()
        host = r.carry(b"question")
        await r.pass_by(PATIENCE - 1)
        assert not r.lines
        r.client.open()
        await turn_until(lambda: r.services)
        assert await read(r.services[0], 8) == b"question"
        await write(host, b"x")
        assert r.client.opened == 1


async def test_a_stream_does_not_wait_for_ever() -> None:
    """SK-13: a reset, and no empty answer."""
    with rig() as r:
        r.client.suspend()
        host = r.carry(b"question")
        await r.pass_by(PATIENCE + 1)
        assert await is_reset(host)
        assert r.timers == 0


async def test_a_pt_that_dies_while_it_dials_is_waited_for_again() -> None:
    with rig() as r:
        r.dials = None
        r.pt_is_ending = True
        host = r.carry(b"question")
        await r.pass_by(1.0)
        assert r.client.streams
        r.client.suspend()
        r.dials, r.pt_is_ending = True, False
        r.client.open()
        await turn_until(lambda: r.services)
        assert await read(r.services[0], 8) == b"question"
        await write(host, b"x")


async def test_a_stream_that_is_lost_while_the_pt_dies_waits_for_the_next() -> None:
    """Its bytes are kept, as it was not accepted."""
    with rig() as r:
        r.reaches = False
        r.carry(b"question")
        await turn_until(lambda: r.asked)
        r.client.suspend()
        r.lines[0].cut()
        await turn_until(lambda: r.client.connections == 0)
        r.asked.pop()(Cause.UNREACHABLE)
        r.reaches = True
        r.client.open()
        await turn_until(lambda: r.services)
        assert await read(r.services[0], 8) == b"question"


# -- a second connection beside the first ----------------------------------------------


async def test_a_second_connection_that_cannot_be_made_is_tried_again() -> None:
    with rig() as r:
        r.holds_lines = True
        r.carry(b"question")
        await turn_until(lambda: r.lines)
        r.dials, r.holds_lines = Unanswered("no answer"), False
        await r.until(lambda: r.client.tried_again)
        r.dials = True
        await r.until(lambda: len(r.lines) == 2)
        await turn_until(lambda: r.services)
        assert await read(r.services[0], 8) == b"question"


async def test_a_second_connection_in_the_making_becomes_the_first() -> None:
    with rig() as r:
        r.holds_lines = True
        r.carry(b"question")
        await turn_until(lambda: r.lines)
        r.dials, r.holds_lines = False, False
        await r.until(lambda: r.dialled)
        r.lines[0].cut()
        await turn_until(lambda: r.client.connections == 0)
        r.dialled.pop()(r.line().client)
        await turn_until(lambda: r.services)
        assert await read(r.services[0], 8) == b"question"
        assert r.client.tried_again == 1


async def test_a_second_connection_that_comes_too_late_is_kept() -> None:
    with rig() as r:
        r.holds_lines = True
        r.carry(b"question")
        await turn_until(lambda: r.lines)
        r.dials, r.holds_lines = False, False
        await r.until(lambda: r.dialled)
        r.lines[0].release()
        await turn_until(lambda: r.stream.kept is None)
        r.dialled.pop()(r.line().client)
        assert (r.client.idle, len(r.services)) == (1, 1)


async def test_a_second_connection_goes_by_another_way_than_the_first() -> None:
    with rig() as r:
        r.dials, r.holds_lines = False, True
        r.carry(b"question")
        r.dialled.pop()(r.line().client, "the first way")
        await r.until(lambda: r.dialled)
        assert (r.late, r.avoided) == (["the first way"], [None, "the first way"])
        r.holds_lines = False
        r.dialled.pop()(r.line().client, "another way")
        await turn_until(lambda: r.services)
        assert await read(r.services[0], 8) == b"question"
