"""Whether the server speaks the session is found out once a run, and never guessed."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from pt_bridge.errors import Unanswered
from pt_bridge.net.sockets import reset
from pt_bridge.pool.detection import (
    ACCEPT_LIMIT,
    ACCEPT_TIMES,
    ANSWER_LIMIT,
    CONNECTIONS,
)
from pt_bridge.protocol.frames import PREFACE, Cause
from pt_bridge.system.log import logger
from tests.support.rig import rig
from tests.support.tcp import is_reset, read, read_to_end, turn_until, write

if TYPE_CHECKING:
    from tests.support.rig import Rig

OPEN_SIZE = 4 + 2 + 1 + 8


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Hear what is logged."""
    caplog.set_level(logging.INFO, logger=logger.name)
    return caplog


async def meets_something_else(r: Rig, number: int) -> bytes:
    """Act as a server that cannot read the next connection; return the stream's id."""
    await turn_until(lambda: len(r.lines) == number)
    sock = r.lines[-1].server
    first = await read(sock, len(PREFACE) + OPEN_SIZE)
    assert first.startswith(PREFACE)
    sock.close()
    return first[-8:]


async def goes_plain(r: Rig) -> None:
    """Act as a server that cannot read what the first stream begins with."""
    ids = [await meets_something_else(r, number) for number in (1, 2)]
    assert ids[0] == ids[1]
    await turn_until(lambda: r.plainly)


async def test_the_first_stream_finds_a_server_that_speaks_it() -> None:
    """The others wait for that, and go then."""
    with rig(detects=True) as r:
        r.reaches = False
        r.carry(b"first")
        await turn_until(lambda: r.asked)
        r.carry(b"second")
        r.carry(b"third")
        assert len(r.lines) == 1
        r.asked.pop()(r.service())
        r.reaches = True
        await turn_until(lambda: len(r.services) == 3)
        assert await read(r.services[0], 5) == b"first"
        assert {await read(sock, 1) for sock in r.services[1:]} == {b"s", b"t"}
        r.carry(b"fourth")
        await turn_until(lambda: len(r.services) == 4)
        assert not r.plainly


async def test_a_refusal_is_said_in_a_session_too() -> None:
    with rig(detects=True) as r:
        r.reaches = Cause.REFUSED
        assert await is_reset(r.carry(b"first"))
        r.reaches = True
        r.carry(b"second")
        await turn_until(lambda: r.services)
        assert (len(r.lines), r.plainly) == (1, [])


async def test_a_server_whose_service_is_slow_is_known_by_its_signs_of_life() -> None:
    """Nobody is mistaken for a server without a session, who speaks it."""
    with rig(detects=True) as r:
        r.reaches = False
        r.carry(b"first")
        await turn_until(lambda: r.asked)
        await r.pass_by(10 * ACCEPT_LIMIT)
        assert (len(r.lines), r.plainly) == (1, [])


async def test_a_server_that_answers_plain_is_taken_for_one_without_a_session(
    log: pytest.LogCaptureFixture,
) -> None:
    """The bytes that were kept go once more; and all others go plain at once."""
    with rig(detects=True) as r:
        r.speaks_session = False
        r.carry(b"first")
        r.carry(b"second")
        await goes_plain(r)
        (first,) = r.plainly
        assert first.first == b"first"
        assert "session" not in log.text
        assert first.on_answer is not None
        first.on_answer()
        assert [each.first for each in r.plainly] == [b"first", b""]
        assert log.text.count("the server speaks no session") == 1
        r.carry(b"third")
        assert len(r.plainly) == 3
        # Plain tunnels count the bytes.
        assert (r.client.opened, r.client.moved) == (3, 0)
        assert await read(r.plainly[2].local, 5) == b"third"
        assert [each.plain for each in r.plainly[1:]] == [
            line.client for line in r.lines[CONNECTIONS:]
        ]
        assert not r.client.streams
        first.on_answer()
        assert log.text.count("the server speaks no session") == 1


@pytest.mark.parametrize("says", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0" * 40])
async def test_other_bytes_are_no_session(says: bytes) -> None:
    with rig(detects=True) as r:
        r.speaks_session = False
        r.carry(b"first")
        for number in (1, 2):
            await turn_until(lambda: len(r.lines) == number)  # noqa: B023
            await write(r.lines[-1].server, says)
        await turn_until(lambda: r.plainly)
        assert r.plainly[0].first == b"first"


async def test_a_server_that_says_nothing_is_waited_for_twice() -> None:
    """A user waits for both."""
    with rig(detects=True) as r:
        r.speaks_session = False
        r.carry(b"first")
        await turn_until(lambda: r.lines)
        await r.pass_by(ACCEPT_LIMIT - 0.5)
        assert len(r.lines) == 1
        await r.pass_by(1.0)
        assert (len(r.lines), r.plainly) == (2, [])
        await r.pass_by(ACCEPT_LIMIT)
        assert [each.first for each in r.plainly] == [b"first"]


async def test_a_server_that_is_far_away_has_more_time() -> None:
    """So many times what it took to reach it."""
    with rig(detects=True) as r:
        r.dials = False
        r.carry(b"first")
        await turn_until(lambda: r.dialled)
        await r.pass_by(4.0)
        r.reaches, r.holds_lines = False, True
        r.dialled.pop()(r.line().client)
        await r.pass_by(4.0 * ACCEPT_TIMES - 1)
        assert r.dialled == []
        await r.pass_by(2.0)
        assert len(r.dialled) == 1


async def test_no_answer_at_all_decides_nothing() -> None:
    """The next stream finds out anew."""
    with rig(detects=True) as r:
        r.speaks_session = False
        r.carry(b"first")
        second = r.carry(b"second")
        await goes_plain(r)
        r.speaks_session = True
        assert r.plainly[0].on_unanswered is not None
        r.plainly[0].on_unanswered()
        await turn_until(lambda: r.services)
        assert await read(r.services[0], 6) == b"second"
        await write(r.services[0], b"x")
        assert await read(second, 1) == b"x"
        r.carry(b"third")
        await turn_until(lambda: len(r.services) == 2)
        assert len(r.plainly) == 1


async def test_a_service_that_never_answers_holds_up_nobody_for_long() -> None:
    """The next stream finds out anew; an answer that comes late decides, too."""
    with rig(detects=True) as r:
        r.speaks_session = False
        r.carry(b"first")
        r.carry(b"second")
        r.carry(b"third")
        await goes_plain(r)
        await r.pass_by(ANSWER_LIMIT)
        for number in (3, 4):
            await meets_something_else(r, number)
        await turn_until(lambda: len(r.plainly) == 2)
        assert r.plainly[1].first == b"second"
        assert r.plainly[0].on_unanswered is not None
        assert r.plainly[0].on_answer is not None
        r.plainly[0].on_unanswered()
        assert len(r.plainly) == 2
        assert len(r.lines) == 4
        r.plainly[0].on_answer()
        assert [each.first for each in r.plainly] == [b"first", b"second", b""]
        assert r.timers == 0


async def test_an_answer_that_comes_late_decides_for_who_is_finding_out() -> None:
    with rig(detects=True) as r:
        r.speaks_session = False
        r.carry(b"first")
        r.carry(b"second")
        await goes_plain(r)
        await r.pass_by(ANSWER_LIMIT)
        await turn_until(lambda: len(r.lines) == 3)
        assert r.plainly[0].on_answer is not None
        r.plainly[0].on_answer()
        await meets_something_else(r, 3)
        await turn_until(lambda: len(r.plainly) == 2)
        assert r.plainly[1].first == b"second"
        assert len(r.lines) == 3


async def test_those_who_wait_learn_of_a_server_that_cannot_be_reached() -> None:
    """At once: they would not reach it either. And nothing is decided."""
    with rig(detects=True) as r:
        r.dials = False
        hosts = [r.carry(b"x") for _ in range(3)]
        await turn_until(lambda: r.dialled)
        r.dialled.pop()(Unanswered("no answer"))
        for host in hosts:
            assert await is_reset(host)
        assert (r.dialled, r.timers) == ([], 0)
        r.dials = True
        r.carry(b"again")
        await turn_until(lambda: r.services)
        assert await read(r.services[0], 5) == b"again"


async def test_a_host_that_gives_up_leaves_it_to_the_next() -> None:
    with rig(detects=True) as r:
        r.holds_lines = True
        first = r.carry(b"first")
        second = r.carry(b"second")
        await turn_until(lambda: r.lines)
        (stream,) = (each for each in r.client.streams if each.connection is not None)
        reset(first)
        await turn_until(lambda: stream.reset_sent)
        r.holds_lines = False
        r.lines[0].release()
        await turn_until(lambda: len(r.client.streams) == 1)
        await turn_until(lambda: r.stream.kept is None)
        await write(second, b", and more")
        service = r.services[-1]
        assert await read(service, 16) == b"second, and more"


async def test_the_death_of_the_pt_decides_nothing() -> None:
    """It looks like two connections that met something else."""
    with rig(detects=True) as r:
        r.reaches = False
        r.carry(b"first")
        await turn_until(lambda: r.lines)
        r.pt_is_ending = True
        r.client.suspend()
        r.lines[0].cut()
        await turn_until(lambda: not r.client.connections)
        r.pt_is_ending, r.reaches = False, True
        r.client.open()
        await turn_until(lambda: r.services)
        assert r.plainly == []


async def test_everything_that_waits_is_cut_with_the_rest() -> None:
    with rig(detects=True) as r:
        r.holds_lines = True
        hosts = [r.carry(b"x") for _ in range(3)]
        await turn_until(lambda: r.lines)
        r.client.cut()
        for host in hosts:
            assert await is_reset(host)
        assert r.ended["client"] == 3


# -- several ways ----------------------------------------------------------------------


def comes_by(r: Rig, way: int, *, speaks_session: bool) -> None:
    """Let what is dialled from now on lead to a server of its own."""
    r.way, r.speaks_session = way, speaks_session


async def test_each_way_is_judged_by_itself(log: pytest.LogCaptureFixture) -> None:
    """One that speaks no session is no reason to do without it on the other."""
    with rig(detects=True, is_early=False) as r:
        comes_by(r, 1, speaks_session=False)
        r.carry(b"first")
        await goes_plain(r)
        assert r.plainly[0].way == 1
        assert r.plainly[0].on_answer is not None
        r.plainly[0].on_answer()
        assert "the server of way 1 speaks no session" in log.text
        comes_by(r, 2, speaks_session=True)
        r.carry(b"second")
        await turn_until(lambda: r.services)
        assert await read(r.services[0], 6) == b"second"
        comes_by(r, 1, speaks_session=False)
        r.carry(b"third")
        await turn_until(lambda: len(r.plainly) == 2)
        assert (r.plainly[1].way, r.plainly[1].first) == (1, b"")
        assert r.plainly[1].plain is r.lines[-1].client
        comes_by(r, 2, speaks_session=True)
        r.carry(b"fourth")
        await turn_until(lambda: len(r.services) == 2)
        assert len(r.plainly) == 2


async def test_one_way_goes_on_while_another_is_found_out() -> None:
    """And who comes to that one meanwhile waits."""
    with rig(detects=True, is_early=False) as r:
        comes_by(r, 1, speaks_session=True)
        await r.both()
        comes_by(r, 2, speaks_session=False)
        r.carry(b"second")
        await turn_until(lambda: len(r.lines) == 2)
        third = r.carry(b"third")
        assert await read_to_end(r.lines[2].server) == b""
        comes_by(r, 1, speaks_session=True)
        await r.both_beside()
        comes_by(r, 2, speaks_session=False)
        r.lines[1].server.close()
        await turn_until(lambda: len(r.lines) == 5)
        r.lines[4].server.close()
        await turn_until(lambda: r.plainly)
        comes_by(r, 1, speaks_session=True)
        await r.pass_by(ANSWER_LIMIT)
        await write(third, b".")
        await turn_until(lambda: len(r.services) == 3)
        assert await read(r.services[2], 6) == b"third."


async def test_who_finds_out_may_come_by_a_way_that_is_known() -> None:
    """Then the next one finds out."""
    with rig(detects=True, is_early=False) as r:
        comes_by(r, 1, speaks_session=True)
        await r.both()
        comes_by(r, 2, speaks_session=False)
        r.carry(b"second")
        await turn_until(lambda: len(r.lines) == 2)
        r.carry(b"third")
        comes_by(r, 1, speaks_session=True)
        r.lines[1].server.close()
        await turn_until(lambda: len(r.services) == 3)
        assert r.plainly == []


async def test_a_second_connection_beside_the_first_is_a_sessions() -> None:
    """Where the other way speaks none, it is none."""
    with rig(detects=True, is_early=False) as r:
        comes_by(r, 1, speaks_session=False)
        r.carry(b"first")
        await goes_plain(r)
        assert r.plainly[0].on_answer is not None
        r.plainly[0].on_answer()
        comes_by(r, 2, speaks_session=True)
        _, service = await r.both()
        number = len(r.lines)
        r.holds_lines = True
        host = r.carry(b"second")
        await turn_until(lambda: len(r.lines) == number + 1)
        r.holds_lines = False
        comes_by(r, 1, speaks_session=False)
        await r.until(lambda: len(r.lines) == number + 2)
        assert await read_to_end(r.lines[-1].server) == b""
        assert len(r.plainly) == 1
        r.lines[number].release()
        await turn_until(lambda: len(r.services) == 2)
        await write(host, b".")
        assert await read(r.services[-1], 7) == b"second."
        del service


async def test_none_is_kept_for_later_that_speaks_no_session() -> None:
    with rig(detects=True, is_early=False, preconnect=1) as r:
        comes_by(r, 1, speaks_session=True)
        await r.both()
        await r.both_beside()
        comes_by(r, 2, speaks_session=False)
        await r.until(lambda: len(r.lines) == 3)
        assert await read_to_end(r.lines[2].server) == b""
        await r.pass_by(1.0)
        assert (len(r.lines), r.client.idle) == (3, 0)
