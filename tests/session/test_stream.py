"""How a stream ends, in every way and in both directions, between real sockets."""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
from typing import TYPE_CHECKING

import pytest

from pt_bridge.net.sockets import reset, unsent
from pt_bridge.protocol.frames import Cause
from pt_bridge.relay.pipes import Pipe, PipePool
from pt_bridge.session.sessions import Limits
from pt_bridge.session.stream import MAX_KEPT
from tests.support.rig import rig
from tests.support.tcp import (
    is_reset,
    is_silent,
    noise,
    read,
    read_to_end,
    turn_until,
    wait_for_hangup,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from pt_bridge.session.stream import Stream
    from tests.support.rig import Rig

QUESTION, ANSWER = b"a question", noise(300_000)
BULK = noise(60_000_000)

both_directions = pytest.mark.parametrize("direction", ["outbound", "inbound"])


async def ends(r: Rig, direction: str) -> tuple[socket.socket, socket.socket]:
    """Carry a stream; return the end that speaks, and the one that hears."""
    host, service = await r.both()
    return (host, service) if direction == "outbound" else (service, host)


async def write_and_end(sock: socket.socket, data: bytes) -> None:
    """Send something, and nothing more."""
    await write(sock, data)
    sock.shutdown(socket.SHUT_WR)


# -- clean ends ------------------------------------------------------------------------


@both_directions
async def test_the_answer_to_a_half_closed_question_arrives(direction: str) -> None:
    """RL-02, RL-04: each direction ends by itself, and the connection stays ready."""
    with rig() as r:
        first, second = await ends(r, direction)
        await write_and_end(first, QUESTION)
        assert await read_to_end(second) == QUESTION
        assert is_silent(first)
        await write_and_end(second, ANSWER)
        assert await read_to_end(first) == ANSWER
        await r.over()
        assert (r.client.idle, r.client.connections) == (1, 1)


async def test_a_request_that_is_whole_at_once_goes_in_one_segment() -> None:
    """Preface, OPEN, the bytes and EOF: the server need not wait."""
    with rig() as r:
        r.holds_lines = True
        host = r.carry(QUESTION)
        host.shutdown(socket.SHUT_WR)
        await turn_until(lambda: r.lines)
        r.lines[0].release()
        await turn_until(lambda: r.services)
        service = r.services[0]
        assert await read_to_end(service) == QUESTION
        await write_and_end(service, ANSWER)
        assert await read_to_end(host) == ANSWER
        await r.over()


async def test_an_empty_stream_ends_as_well() -> None:
    with rig() as r:
        host, service = await r.both()
        host.shutdown(socket.SHUT_WR)
        service.shutdown(socket.SHUT_WR)
        assert await read_to_end(service) == b""
        assert await read_to_end(host) == b""
        await r.over()
        assert r.client.idle == 1


@both_directions
async def test_who_closes_for_good_after_its_last_word_is_heard(direction: str) -> None:
    """RL-04: the other side learns of it when it goes on."""
    with rig() as r:
        first, second = await ends(r, direction)
        await write(first, ANSWER)
        first.close()
        assert await read_to_end(second) == ANSWER
        with pytest.raises(ConnectionError):
            await go_on_until_reset(second)
        await r.over()


async def fill(sock: socket.socket, stream: Stream) -> int:
    """Send until nothing is read any more, and a little more; return how much."""
    sent = idle = 0
    while idle < 50:
        before = stream.outbound
        while sent < before + 50_000:
            sent += sock.send(BULK[sent : before + 50_000])
        for _ in range(5):
            await asyncio.sleep(0)
        idle = idle + 1 if stream.outbound == before else 0
    await turn_until(lambda: not unsent(sock))
    assert sent > stream.outbound
    return sent


async def go_on_until_reset(sock: socket.socket) -> None:
    """Send to one that does not listen."""
    while True:
        await write(sock, b"still there?")
        await asyncio.sleep(0)


@both_directions
async def test_what_a_closed_end_has_sent_is_read_though_it_takes_nothing(
    direction: str,
) -> None:
    """EPIPE: first what came before, then EOF, and then RESET."""
    with rig() as r:
        first, second = await ends(r, direction)
        r.lines[0].hold()
        stream = r.stream if direction == "outbound" else r.server_stream
        sent = await fill(first, stream)
        first.close()
        await write(second, b"it takes nothing")
        r.lines[0].release()
        assert await read_to_end(second) == BULK[:sent]
        with pytest.raises(ConnectionError):
            await go_on_until_reset(second)
        await r.over()


# -- resets ----------------------------------------------------------------------------


@both_directions
async def test_a_reset_is_a_reset_at_the_other_end(direction: str) -> None:
    """RL-03: a cut transfer never looks complete; the PT connection goes on."""
    with rig() as r:
        first, second = await ends(r, direction)
        await write(first, QUESTION)
        assert await read(second, len(QUESTION)) == QUESTION
        reset(first)
        assert await is_reset(second)
        await r.over()
        assert r.client.idle == 1
        other = await r.both()
        await write(other[0], QUESTION)
        assert await read(other[1], len(QUESTION)) == QUESTION


@both_directions
async def test_what_came_before_an_eof_stands_though_a_reset_follows(
    direction: str,
) -> None:
    """EOF and then RESET: only the other direction is dead."""
    with rig() as r:
        first, second = await ends(r, direction)
        await write_and_end(first, ANSWER)
        await turn_until(lambda: r.stream.eof_sent or r.stream.eof_received)
        await turn_until(
            lambda: r.server_stream.eof_sent or r.server_stream.eof_received
        )
        reset(first)
        await write(second, b"x")
        assert await read_to_end(second) == ANSWER
        await turn_until(lambda: not r.stream_is_open)
        second.close()
        await r.over()


@both_directions
async def test_a_reset_after_the_others_eof_is_one_all_the_same(direction: str) -> None:
    """RL-03: the answer was cut."""
    with rig() as r:
        first, second = await ends(r, direction)
        await write_and_end(second, QUESTION)
        assert await read_to_end(first) == QUESTION
        await write(first, ANSWER[:100])
        assert await read(second, 100) == ANSWER[:100]
        reset(first)
        assert await is_reset(second)
        await r.over()


@both_directions
async def test_both_may_reset_at_once(direction: str) -> None:
    with rig() as r:
        first, second = await ends(r, direction)
        reset(first)
        reset(second)
        await r.over()
        assert r.client.idle == 1


@both_directions
async def test_a_reset_stands_behind_what_was_sent_before(direction: str) -> None:
    """Said in line: whoever is slow has the bytes first."""
    with rig() as r:
        first, second = await ends(r, direction)
        r.lines[0].hold()
        data = noise(40_000)
        await write(first, data)
        await turn_until(
            lambda: max(r.stream.outbound, r.server_stream.outbound) == len(data)
        )
        reset(first)
        speaker = r.stream if direction == "outbound" else r.server_stream
        await turn_until(lambda: speaker.reset_sent)
        assert is_silent(second)
        r.lines[0].release()
        with pytest.raises(ConnectionResetError):
            await read_to_end(second)
        await r.over()


async def test_a_host_that_is_reset_while_it_is_dialled_for_is_told_of() -> None:
    """Its question may have been cut: the service must not take it for whole."""
    with rig() as r:
        r.dials = False
        host = r.carry(QUESTION)
        await turn_until(lambda: r.dialled)
        local = r.stream.local
        assert local is not None
        reset(host)
        wait_for_hangup(local)
        r.dialled.pop()(r.line().client)
        await r.over()
        assert r.client.idle == 1
        if r.services:
            assert await is_reset(r.services[0])


async def test_a_request_that_begins_late_is_kept_piece_by_piece() -> None:
    """Until ACCEPT; nothing of it is read twice."""
    with rig() as r:
        r.reaches = False
        host = r.carry()
        await turn_until(lambda: r.asked)
        for byte in QUESTION:
            before = r.stream.outbound
            await write(host, bytes([byte]))
            await turn_until(lambda: r.stream.outbound > before)  # noqa: B023
        host.shutdown(socket.SHUT_WR)
        await turn_until(lambda: r.stream.eof_sent)
        r.asked.pop()(r.service())
        assert await read_to_end(r.services[0]) == QUESTION


# -- the PT connection is cut ----------------------------------------------------------


async def test_before_accept_a_stream_is_tried_on_another_connection() -> None:
    """With the bytes that were kept, under the same id: the service gets them once."""
    with rig() as r:
        r.reaches = False
        host = r.carry(QUESTION)
        await turn_until(lambda: r.asked)
        id = r.stream.id
        await write(host, b", and more")
        await turn_until(lambda: r.stream.outbound == 10)
        r.lines[0].cut()
        await r.until(lambda: r.server.opened == 2)
        assert (len(r.lines), r.client.tried_again, r.stream.id) == (2, 1, id)
        r.asked.pop()(r.service())
        (service,) = r.services
        assert await read(service, 20) == QUESTION + b", and more"
        await write(service, ANSWER)
        assert await read(host, len(ANSWER)) == ANSWER


async def test_before_accept_an_eof_is_said_again_as_well() -> None:
    with rig() as r:
        r.reaches = False
        host = r.carry(QUESTION)
        host.shutdown(socket.SHUT_WR)
        await turn_until(lambda: r.asked)
        r.lines[0].cut()
        await r.until(lambda: r.server.opened == 2)
        r.asked.pop()(r.service())
        assert await read_to_end(r.services[0]) == QUESTION
        r.services[0].close()
        assert await read_to_end(host) == b""
        await r.over_on_client()


async def test_a_stream_is_not_tried_for_ever() -> None:
    """Three connections that were made for it."""
    with rig() as r:
        r.reaches = False
        host = r.carry(QUESTION)
        for count in range(1, 4):
            await r.until(lambda: r.server.opened == count)  # noqa: B023
            r.lines[-1].cut()
        assert await is_reset(host)
        assert len(r.lines) == 3
        r.asked.pop()(r.service())
        assert await is_reset(r.services[0])


async def test_no_more_is_read_before_accept_than_is_kept() -> None:
    """Memory is bounded, whatever the host has."""
    with rig() as r:
        r.reaches = False
        host = r.carry()
        data = noise(4 * MAX_KEPT)
        async with r.ticking(), asyncio.TaskGroup() as tasks:
            tasks.create_task(write(host, data))
            await turn_until(lambda: r.asked and r.stream.outbound >= MAX_KEPT // 2)
            for _ in range(50):
                await asyncio.sleep(0)
            assert r.stream.outbound <= MAX_KEPT
            r.asked.pop()(r.service())
            heard = tasks.create_task(read(r.services[0], len(data)))
        assert heard.result() == data


async def test_a_refusal_costs_no_connection_whatever_was_sent_before() -> None:
    """The server throws away all that a client may send until it has heard of it."""
    with rig() as r:
        r.reaches = False
        host = r.carry()
        async with r.ticking():
            await write(host, b"?")
            await turn_until(lambda: r.asked and r.stream.outbound == 1)
            await write(host, noise(MAX_KEPT))
            await turn_until(lambda: r.stream.outbound > MAX_KEPT // 2)
            for _ in range(50):
                await asyncio.sleep(0)
            r.asked.pop()(Cause.REFUSED)
            assert await is_reset(host)
        await turn_until(lambda: r.client.idle == 1)
        assert r.client.connections == r.server.connections == 1


async def test_a_connection_that_died_has_no_use_for_a_service() -> None:
    """The second try gets what was reached for the first."""
    with rig() as r:
        r.reaches = False
        host = r.carry(QUESTION)
        await turn_until(lambda: r.asked)
        r.lines[0].cut()
        await r.until(lambda: r.server.opened == 2)
        r.asked.pop()(r.service())
        assert not r.asked
        await turn_until(lambda: r.stream.kept is None)
        assert await read(r.services[0], len(QUESTION)) == QUESTION
        await write_and_end(r.services[0], ANSWER)
        assert await read_to_end(host) == ANSWER


@both_directions
async def test_a_cut_after_accept_is_a_reset_at_both_ends(direction: str) -> None:
    """RL-11: nobody knows what has got through."""
    with rig() as r:
        first, second = await ends(r, direction)
        await write(first, QUESTION)
        assert await read(second, len(QUESTION)) == QUESTION
        r.lines[0].cut()
        assert await is_reset(first)
        assert await is_reset(second)
        await r.over()
        assert len(r.lines) == 1


@both_directions
async def test_a_cut_after_an_eof_spares_what_was_whole(direction: str) -> None:
    """What had its EOF and its bytes is delivered, though its reader is slow."""
    with rig() as r:
        first, second = await ends(r, direction)
        await write_and_end(first, ANSWER[:50_000])
        hearer = r.server_stream if direction == "outbound" else r.stream
        await turn_until(lambda: hearer.eof_received)
        r.lines[0].cut()
        assert await read_to_end(second) == ANSWER[:50_000]
        assert await is_reset(first)
        second.close()
        await r.over()


async def test_a_cut_after_both_eofs_spares_everything() -> None:
    with rig() as r:
        host, service = await r.both()
        await write_and_end(host, QUESTION)
        await write_and_end(service, ANSWER[:50_000])
        await r.over()
        r.lines[0].cut()
        assert await read_to_end(host) == ANSWER[:50_000]
        assert await read_to_end(service) == QUESTION
        await turn_until(lambda: not r.client.connections)


# -- bulk ------------------------------------------------------------------------------


class UselessPool(PipePool):
    """A pool whose pipes splice(2) refuses to fill: one end of each is no pipe's."""

    def borrow(self) -> Pipe | None:
        pipe = super().borrow()
        if pipe is not None:
            with open(os.devnull, "wb") as null:
                os.dup2(null.fileno(), pipe.write, inheritable=False)
        return pipe


POOLS: dict[str, Callable[[], PipePool]] = {
    "splicing": lambda: PipePool(most=4),
    "without pipes": lambda: PipePool(most=0),
    "one pipe": lambda: PipePool(most=1),
    "refused": lambda: UselessPool(most=4),
}


@pytest.mark.parametrize("pool", POOLS)
async def test_bulk_goes_both_ways_at_once(pool: str) -> None:
    """RL-01: whole and in order, to the last byte and the EOF."""
    data, answer = noise(5_000_000), noise(5_000_001)
    with rig(pipes=POOLS[pool]()) as r:
        host, service = await r.both()
        async with r.ticking(), asyncio.TaskGroup() as tasks:
            tasks.create_task(write_and_end(host, data))
            tasks.create_task(write_and_end(service, answer))
            outbound = tasks.create_task(read_to_end(service))
            inbound = tasks.create_task(read_to_end(host))
        assert outbound.result() == data
        assert inbound.result() == answer
        await r.over()
        assert r.client.moved == r.server.moved == len(data) + len(answer)


@both_directions
async def test_where_a_socket_refuses_to_be_spliced_into_bytes_are_copied(
    direction: str,
) -> None:
    """EINVAL at run time, with a pipe that is full."""
    data = noise(5_000_000)
    with rig() as r:
        first, second = await ends(r, direction)
        for stream in (r.stream, r.server_stream):
            assert stream.local is not None
            flags = fcntl.fcntl(stream.local, fcntl.F_GETFL)
            fcntl.fcntl(stream.local, fcntl.F_SETFL, flags | os.O_APPEND)
        for line in r.lines:
            for sock in (line.client, line.server):
                flags = fcntl.fcntl(sock, fcntl.F_GETFL)
                fcntl.fcntl(sock, fcntl.F_SETFL, flags | os.O_APPEND)
        async with r.ticking(), asyncio.TaskGroup() as tasks:
            tasks.create_task(write_and_end(first, data))
            heard = tasks.create_task(read_to_end(second))
        assert heard.result() == data


@both_directions
async def test_a_slow_reader_stops_the_writer_at_the_other_end(direction: str) -> None:
    """RL-01: back-pressure goes through, and nothing is buffered without a limit."""
    data = BULK
    with rig() as r:
        first, second = await ends(r, direction)
        sent = idle = 0
        while idle < 200:
            try:
                sent += first.send(memoryview(data)[sent : sent + 1_000_000])
                idle = 0
            except BlockingIOError:
                idle += 1
            await asyncio.sleep(0)
        assert sent < len(data)
        assert r.pipes.lent <= 2
        # The other way is free.
        await write(second, ANSWER)
        assert await read(first, len(ANSWER)) == ANSWER
        async with r.ticking(), asyncio.TaskGroup() as tasks:
            tasks.create_task(write_and_end(first, data[sent:]))
            heard = tasks.create_task(read_to_end(second))
        assert heard.result() == data


@both_directions
async def test_an_urgent_byte_holds_nothing_up(direction: str) -> None:
    """Splice stops at it, and copying goes on."""
    with rig() as r:
        first, second = await ends(r, direction)
        data = noise(200_000)
        async with r.ticking(), asyncio.TaskGroup() as tasks:
            heard = tasks.create_task(read(second, 2 * len(data)))
            await write(first, data)
            first.send(b"!", socket.MSG_OOB)
            await write(first, data)
        assert heard.result() == data * 2


# -- too much for a stream that is dead ------------------------------------------------


@both_directions
async def test_a_download_for_nobody_ends_its_connection(direction: str) -> None:
    """To throw all of it away costs more than a new connection."""
    with rig() as r:
        first, second = await ends(r, direction)
        async with r.ticking(), asyncio.TaskGroup() as tasks:
            pouring = tasks.create_task(pour(second))
            await read(first, 1_000_000)
            reset(first)
            assert await pouring < len(BULK)
        await r.over()


async def pour(sock: socket.socket) -> int:
    """Send a lot, until it is reset; return how much was taken."""
    sent = 0
    loop = asyncio.get_running_loop()
    try:
        while sent < len(BULK):
            piece = BULK[sent : sent + 100_000]
            await loop.sock_sendall(sock, piece)
            sent += len(piece)
    except ConnectionError:
        pass
    return sent


async def test_a_little_for_a_dead_stream_is_thrown_away() -> None:
    """And the connection is ready for the next one."""
    with rig() as r:
        host, service = await r.both()
        r.lines[0].hold()
        await write(service, noise(40_000))
        await turn_until(lambda: r.server_stream.outbound == 40_000)
        reset(host)
        await turn_until(lambda: r.stream.reset_sent)
        r.lines[0].release()
        assert await is_reset(service)
        await r.over()
        assert r.client.idle == 1


# -- silence ---------------------------------------------------------------------------


async def test_a_stream_that_is_silent_for_longer_than_allowed_is_reset() -> None:
    """`idle`: on either side, and the other hears why."""
    with rig(Limits(idle=100.0)) as r:
        host, service = await r.both()
        await r.pass_by(90.0)
        await write(host, QUESTION)
        assert await read(service, len(QUESTION)) == QUESTION
        await r.pass_by(90.0)
        assert r.client.streams
        await r.pass_by(15.0)
        assert await is_reset(host)
        assert await is_reset(service)
        await r.over()
        assert r.client.idle == 1


async def test_a_half_closed_stream_may_be_silent_for_less() -> None:
    """`linger`."""
    with rig(Limits(linger=5.0)) as r:
        host, service = await r.both()
        await r.pass_by(100.0)
        host.shutdown(socket.SHUT_WR)
        assert await read_to_end(service) == b""
        await r.pass_by(30.0)
        assert await is_reset(host)
        await r.over()


async def test_without_limits_a_stream_may_be_silent_for_hours() -> None:
    with rig() as r:
        host, service = await r.both()
        host.shutdown(socket.SHUT_WR)
        assert await read_to_end(service) == b""
        await r.pass_by(4 * 3600.0, step=5.0)
        await write_and_end(service, ANSWER)
        assert await read_to_end(host) == ANSWER
        await r.over()


async def test_a_service_that_is_dead_before_it_is_accepted_resets_the_host() -> None:
    with rig() as r:
        r.reaches = False
        host = r.carry(QUESTION)
        await turn_until(lambda: r.asked)
        local = r.service()
        reset(r.services[0])
        wait_for_hangup(local)
        r.asked.pop()(local)
        assert await is_reset(host)
        await r.over()
