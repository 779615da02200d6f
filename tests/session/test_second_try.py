"""A stream on two connections at once: one keeps it, and the service hears it once."""

from __future__ import annotations

import pytest

from pt_bridge.pool.accept_times import LEAST
from pt_bridge.protocol.frames import Cause
from tests.support.rig import Rig, rig
from tests.support.tcp import (
    is_reset,
    is_silent,
    noise,
    read,
    read_to_end,
    turn_until,
    write,
)

QUESTION = b"question"


async def beside(r: Rig) -> None:
    """Open a stream whose first connection is silent on a second one, too."""
    await r.until(lambda: len(r.lines) == 2)
    assert r.client.tried_again == 1


async def test_the_second_connection_carries_it_where_the_first_is_dead() -> None:
    with rig() as r:
        r.holds_lines = True
        host = r.carry(QUESTION)
        await turn_until(lambda: r.lines)
        r.holds_lines = False
        await beside(r)
        await turn_until(lambda: r.services)
        assert await read(r.services[0], len(QUESTION)) == QUESTION
        await write(r.services[0], b"answer")
        assert await read(host, 6) == b"answer"
        data = noise(300_000)
        async with r.ticking():
            await write(host, data[:60_000])
            assert await read(r.services[0], 60_000) == data[:60_000]
        # What was held comes through, and the service hears nothing of it.
        r.lines[0].release()
        await r.pass_by(3.0)
        assert is_silent(r.services[0])
        assert [await read(each, 1) for each in r.services[1:]] in ([], [b""])
        assert r.client.connections == 1


@pytest.mark.parametrize("ends", [False, True])
async def test_the_first_connection_keeps_it_where_it_was_only_slow(
    *, ends: bool
) -> None:
    """A server that hears both accepts one of them."""
    with rig() as r:
        r.holds_lines = True
        host = r.carry(QUESTION)
        if ends:
            host.shutdown(1)
        await turn_until(lambda: r.lines)
        await beside(r)
        r.lines[0].release()
        await turn_until(lambda: r.services)
        r.lines[1].release()
        await r.pass_by(3.0)
        await write(r.services[0], b"answer")
        assert await read(host, 6) == b"answer"
        assert await read(r.services[0], len(QUESTION)) == QUESTION
        if ends:
            assert await read(r.services[0], 1) == b""
        assert len(r.services) == 1
        assert r.client.connections == 1


async def test_a_server_that_hears_both_at_once_accepts_one() -> None:
    with rig() as r:
        r.reaches = False
        r.holds_lines = True
        host = r.carry(QUESTION)
        await turn_until(lambda: r.lines)
        await beside(r)
        for line in r.lines:
            line.release()
        await turn_until(lambda: r.server.opened == 2)
        r.asked.pop()(r.service())
        assert not r.asked
        await r.pass_by(1.0)
        assert await read(r.services[0], len(QUESTION)) == QUESTION
        await write(r.services[0], b"answer")
        assert await read(host, 6) == b"answer"
        assert not r.refusals


async def test_the_end_of_the_first_leaves_it_to_the_second() -> None:
    with rig() as r:
        r.holds_lines = True
        host = r.carry(QUESTION)
        host.shutdown(1)
        await turn_until(lambda: r.lines)
        await beside(r)
        r.lines[0].cut()
        await turn_until(lambda: r.client.connections == 1)
        r.lines[1].release()
        await turn_until(lambda: r.services)
        assert await read_to_end(r.services[0]) == QUESTION
        await write(r.services[0], b"answer")
        assert await read(host, 6) == b"answer"
        assert (len(r.lines), r.client.cuts) == (2, 0)


async def test_the_end_of_the_second_leaves_it_to_the_first() -> None:
    with rig() as r:
        r.holds_lines = True
        host = r.carry(QUESTION)
        await turn_until(lambda: r.lines)
        await beside(r)
        r.lines[1].cut()
        await turn_until(lambda: r.client.connections == 1)
        r.lines[0].release()
        await turn_until(lambda: r.services)
        await write(host, b", and more")
        assert await read(r.services[0], 18) == QUESTION + b", and more"


async def test_a_refusal_on_the_second_leaves_it_to_the_first() -> None:
    with rig() as r:
        r.holds_lines = True
        r.reaches = Cause.BUSY
        host = r.carry(QUESTION)
        await turn_until(lambda: r.lines)
        await beside(r)
        r.lines[1].release()
        await turn_until(lambda: r.client.idle == 1)
        assert not r.refusals
        r.reaches = True
        r.lines[0].release()
        await turn_until(lambda: r.services)
        assert await read(r.services[0], len(QUESTION)) == QUESTION
        await write(host, b"x")


@pytest.mark.parametrize("reset", [False, True])
async def test_both_go_with_the_stream(*, reset: bool) -> None:
    with rig() as r:
        r.holds_lines = True
        host = r.carry(QUESTION)
        await turn_until(lambda: r.lines)
        await beside(r)
        if reset:
            r.reaches = Cause.BUSY
            r.lines[0].release()
            assert await is_reset(host)
            await turn_until(lambda: not r.client.streams)
        else:
            r.client.cut()
        assert r.client.connections <= 1


async def test_a_slow_service_is_waited_for_on_one_connection() -> None:
    """The server says that it is there."""
    with rig() as r:
        r.reaches = False
        r.carry(QUESTION)
        await turn_until(lambda: r.asked)
        await r.pass_by(20 * LEAST)
        assert len(r.lines) == 1
