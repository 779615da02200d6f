"""What both sides count and share."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest

from pt_bridge.net.sockets import reset
from pt_bridge.protocol.session import Session
from pt_bridge.relay.coalescing import Coalescing
from pt_bridge.relay.draining_close import DrainingClose
from pt_bridge.relay.pipes import PIPE_SIZE, PipePool
from pt_bridge.relay.reader import Reader
from pt_bridge.relay.writer import Writer
from pt_bridge.session.connection import SessionConnection
from pt_bridge.session.idle_period import IDLE_MOST, ClosingHandshake, IdlePeriod
from pt_bridge.session.recogniser import Recogniser
from pt_bridge.session.second_try import SecondTry
from pt_bridge.session.sessions import Limits
from pt_bridge.session.stream import Stream
from pt_bridge.session.watch import Watch
from tests.support.freed import instances, without_collector
from tests.support.rig import rig
from tests.support.tcp import (
    is_reset,
    noise,
    read,
    read_to_end,
    turn_until,
    write,
)

if TYPE_CHECKING:
    from tests.support.rig import Rig

STREAMS: list[type] = [Stream, SecondTry, DrainingClose, Coalescing]
CONNECTIONS: list[type] = [
    SessionConnection,
    Session,
    IdlePeriod,
    ClosingHandshake,
    Recogniser,
]
CONNECTIONS += [Reader, Writer, Watch]
BULK = 4 * PIPE_SIZE


async def test_streams_connections_and_bytes_are_counted_on_both_sides() -> None:
    """For SIGUSR1, and for how many there may be."""
    with rig() as r:
        pairs = [await r.both_beside() for _ in range(3)]
        for side in (r.client, r.server):
            assert (side.opened, len(side.streams), side.connections) == (3, 3, 3)
        for host, service in pairs:
            await write(host, b"12345678")
            await write(service, b"123")
        await turn_until(lambda: r.client.moved == r.server.moved == 33)
        for host, service in pairs:
            host.close()
            service.close()
        await r.over(3)
        for side in (r.client, r.server):
            assert (side.opened, side.moved, side.connections) == (3, 33, 3)


async def test_what_went_with_open_is_counted_as_well() -> None:
    with rig() as r:
        r.carry(b"a question")
        await turn_until(lambda: r.server.moved == 10)
        assert r.client.moved == 10


async def test_everything_can_be_cut_at_once() -> None:
    """LC-09: on either side; the other one learns of it."""
    for side in ("client", "server"):
        with rig() as r:
            pairs = [await r.both_beside() for _ in range(3)]
            (r.client if side == "client" else r.server).cut()
            for host, service in pairs:
                assert await is_reset(host)
                assert await is_reset(service)
            await r.over(3)


async def test_what_is_whole_is_read_to_its_end_after_its_stream_is_over() -> None:
    """Its reader is slow, and its PT is gone: a stop alone would cut it."""
    data = noise(50_000)
    with rig() as r:
        host, service = await r.both()
        await write(service, data)
        service.shutdown(socket.SHUT_WR)
        await turn_until(lambda: r.stream.eof_received)
        r.lines[0].cut()
        await r.over()
        assert await read_to_end(host) == data
        host.close()


async def test_a_stop_cuts_what_is_still_being_read() -> None:
    with rig() as r:
        host, service = await r.both(receive_buffer=4096)
        await write(service, noise(50_000))
        service.shutdown(socket.SHUT_WR)
        await turn_until(lambda: r.stream.eof_received)
        r.lines[0].cut()
        await r.over()
        r.client.cut()
        assert await is_reset(host)


async def test_the_limit_is_that_of_how_far_a_stream_has_ended() -> None:
    """`linger` is for those of which a direction has ended, and never longer."""
    for idle, linger, open_limit, half_closed in (
        (None, None, None, None),
        (None, 5.0, None, 5.0),
        (100.0, None, 100.0, 100.0),
        (100.0, 5.0, 100.0, 5.0),
        (5.0, 100.0, 5.0, 5.0),
        (None, 0.0, None, 0.0),
    ):
        with rig(Limits(idle=idle, linger=linger)) as r:
            assert r.client.silence_limit(is_half_closed=False) == open_limit
            assert r.client.silence_limit(is_half_closed=True) == half_closed


# -- memory ----------------------------------------------------------------------------


async def ended(r: Rig, how: str) -> None:
    """Carry something both ways, and have it end."""
    host, service = await r.both()
    await write(host, noise(1000))
    assert await read(service, 1000) == noise(1000)
    await write(service, b"answer")
    assert await read(host, 6) == b"answer"
    match how:
        case "host closes":
            host.close()
            assert await read_to_end(service) == b""
        case "service closes":
            service.close()
            assert await read_to_end(host) == b""
        case "reset":
            reset(host)
            assert await is_reset(service)
        case "cut":
            r.client.cut()
            r.server.cut()
            r.client.open()
        case "the PT ends":
            r.lines[-1].close()
    host.close()
    service.close()


@pytest.mark.parametrize("how", ["host closes", "service closes", "reset"])
async def test_a_stream_that_has_ended_is_freed_at_once(how: str) -> None:
    """Or a burst of them would stay in memory until the garbage collector comes."""
    with without_collector(), rig() as r:
        for number in (1, 2):
            await ended(r, how)
            await r.over(number)
            assert instances(*STREAMS) == []


@pytest.mark.parametrize("how", ["cut", "the PT ends"])
async def test_a_connection_that_is_closed_is_freed_at_once(how: str) -> None:
    with without_collector(), rig() as r:
        for number in (1, 2):
            await ended(r, how)
            await r.over(number)
            await turn_until(lambda: not r.client.connections + r.server.connections)
            r.lines.clear()
            assert instances(*STREAMS, *CONNECTIONS) == []


async def test_one_that_has_taken_leave_is_freed_as_well() -> None:
    with without_collector(), rig() as r:
        await ended(r, "host closes")
        await r.over()
        await r.until(lambda: not r.client.connections + r.server.connections)
        assert r.clock.time() <= 2 * IDLE_MOST
        assert instances(*STREAMS, *CONNECTIONS) == []


async def test_one_that_has_carried_bulk_is_freed_as_well() -> None:
    with without_collector(), PipePool(most=4) as pipes, rig(pipes=pipes) as r:
        host, service = await r.both()
        data = noise(BULK)
        async with r.ticking(), asyncio.TaskGroup() as tasks:
            tasks.create_task(write(host, data))
            assert await read(service, BULK) == data
        host.close()
        service.close()
        await r.over()
        r.client.cut()
        r.server.cut()
        assert instances(*STREAMS, *CONNECTIONS) == []
