"""A stream whose host has closed for good leaves its connection to the next one."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from pt_bridge.pool.accept_times import TIMES
from pt_bridge.pool.half_closed import MAX_ASKED, QUIET
from pt_bridge.pool.pool import WORTHWHILE
from pt_bridge.protocol.frames import (
    ACCEPT,
    HEADER_SIZE,
    RESET,
    Cause,
    data_frame,
    data_header,
    frame,
)
from pt_bridge.protocol.session import MAX_FRAMES
from pt_bridge.session.sessions import TAKING_LIMIT
from pt_bridge.session.stream import MAX_DISCARDED, MOST_LEFT, Stream
from pt_bridge.session.watch import RESET_LIMIT
from tests.support.rig import Rig, rig
from tests.support.tcp import (
    is_silent,
    noise,
    read,
    read_to_end,
    turn_until,
    write,
)

if TYPE_CHECKING:
    from pt_bridge.session.owners import AnyStream

QUESTION = b"question"
FAR = 1.0  # seconds that ACCEPT takes on a long path
SMALL = 4096  # bytes that a socket holds
SLOW_SIZE = 3_000_000  # bytes: more than all sockets between two hosts hold


async def carried(r: Rig) -> tuple[socket.socket, socket.socket]:
    """Carry a stream over a long path; return its host's and its service's end."""
    host, service = await r.both()
    r.client.on_accepted(FAR)
    await write(host, QUESTION)
    assert await read(service, len(QUESTION)) == QUESTION
    return host, service


async def carried_to_a_slow_service(r: Rig) -> socket.socket:
    """Carry a stream whose service takes little unless it reads; return its host.

    Those that follow wait until the test has reached the service for them.
    """
    r.reaches = False
    host = r.carry(QUESTION)
    await turn_until(lambda: r.asked)
    r.asked.pop()(r.service(send_buffer=SMALL))
    await turn_until(lambda: r.stream.kept is None)
    return host


async def close(r: Rig, host: socket.socket) -> Stream:
    """Close a host for good, and wait until all is quiet; return its stream."""
    stream = r.stream
    host.close()
    await said(stream)
    await r.pass_by(2 * QUIET)
    return stream


async def said(stream: AnyStream) -> None:
    """Wait until the PT has all that a host has said."""
    assert isinstance(stream, Stream)
    await turn_until(lambda: stream.may_be_left)


async def accepted(r: Rig, number: int) -> None:
    """Wait until so many streams were accepted, the last of which is open alone."""
    await turn_until(lambda: len(r.services) == number and r.stream.kept is None)


async def test_the_next_stream_need_not_wait_for_the_end_of_the_one_before() -> None:
    """The server hears both at once, and the service everything that was said."""
    with rig() as r:
        host, service = await carried(r)
        r.lines[0].hold()
        await close(r, host)
        second = r.carry(QUESTION)
        assert (len(r.lines), r.client.reused, len(r.client.streams)) == (1, 1, 1)
        assert r.ended["client"] == 1
        r.lines[0].release()
        await turn_until(lambda: len(r.services) == 2)
        assert await read_to_end(service) == b""
        assert await read(r.services[1], len(QUESTION)) == QUESTION
        await write(r.services[1], b"answer")
        assert await read(second, 6) == b"answer"
        assert not r.refusals
        second.close()
        r.services[1].close()
        await r.over(2)
        assert (r.client.idle, r.client.cuts, r.server.cuts) == (1, 0, 0)


async def test_one_after_the_other_may_be_left() -> None:
    """Each before its end was heard, and none twice at a time."""
    with rig() as r:
        host, _ = await carried(r)
        for number in range(2, 6):
            await close(r, host)
            host = r.carry(QUESTION)
            await accepted(r, number)
            assert await read(r.services[-1], len(QUESTION)) == QUESTION
        assert (len(r.lines), r.client.reused) == (1, 4)


async def test_what_comes_for_the_one_that_was_left_is_thrown_away() -> None:
    """It is not taken for the next one's answer, bulk that has its pipes no more."""
    with rig() as r:
        host, service = await carried(r)
        r.lines[0].hold()
        await close(r, host)
        service.send(noise(3_000_000))  # as much as it takes
        await turn_until(lambda: r.server_stream.outbound > MAX_DISCARDED)
        second = r.carry(QUESTION)
        assert len(r.lines) == 1
        r.lines[0].release()
        async with r.ticking():
            await turn_until(lambda: len(r.services) == 2)
            await write(r.services[1], b"answer")
            assert await read(second, 6) == b"answer"
        assert len(r.lines) == 1


async def test_a_stream_in_which_something_has_just_moved_is_waited_for() -> None:
    """A moment: then nothing more is on its way."""
    with rig() as r:
        host, service = await carried(r)
        await write(service, b"answer")
        assert await read(host, 6) == b"answer"
        stream = r.stream
        host.close()
        await said(stream)
        r.carry(QUESTION)
        assert (len(r.client.streams), r.client.number_waiting) == (2, 1)
        await r.pass_by(QUIET, step=QUIET / 4)
        assert len(r.client.streams) == 1
        await accepted(r, 2)
        assert len(r.lines) == 1


async def test_nothing_is_waited_for_twice() -> None:
    """Where more has come, or another host has closed, one is made."""
    with rig() as r:
        host, _ = await carried(r)
        stream = r.stream
        host.close()
        await said(stream)
        r.carry(QUESTION)
        stream.moved_at += QUIET
        await r.pass_by(2 * QUIET, step=QUIET / 4)
        assert stream in r.client.streams
        assert len(r.lines) == 2


async def test_a_host_that_waits_for_its_answer_is_not_left() -> None:
    """It has only half-closed."""
    with rig() as r:
        host, service = await carried(r)
        stream = r.stream
        host.shutdown(socket.SHUT_WR)
        await turn_until(lambda: stream.may_be_left)
        await r.both_beside()
        assert len(r.lines) == 2
        await write(service, b"answer")
        assert await read(host, 6) == b"answer"


async def test_no_stream_is_left_where_that_saves_nothing() -> None:
    """On a short path its connection is free soon."""
    with rig() as r:
        host, _ = await r.both()
        await close(r, host)
        assert r.client._accept_times.usual is not None
        assert r.client._accept_times.usual < WORTHWHILE
        await r.both_beside()
        assert len(r.lines) == 2


async def test_a_connection_that_was_only_made_ready_comes_last() -> None:
    """Its congestion window has not grown."""
    with rig(preconnect=1) as r:
        host, _ = await carried(r)
        await r.until(lambda: r.client.idle == 1)
        lines = len(r.lines)
        await close(r, host)
        r.carry(QUESTION)
        assert (r.client.idle, r.client.reused) == (1, 1)
        await turn_until(lambda: len(r.services) == 2)
        assert len(r.lines) == lines


async def test_a_connection_that_is_over_comes_first() -> None:
    """Nothing is in its way."""
    with rig() as r:
        host, _ = await carried(r)
        ended = await r.both_beside()
        ended[0].close()
        ended[1].close()
        await turn_until(lambda: r.client.idle == 1)
        await close(r, host)
        r.lines[0].hold()
        await r.both_beside()
        assert (len(r.lines), r.ended["client"]) == (2, 1)


async def test_a_stream_is_not_left_while_the_pt_has_yet_to_take_some_of_it() -> None:
    """What is behind it would have to wait for that."""
    with rig() as r:
        host, service = await carried(r)
        r.lines[0].hold()
        stream = r.stream
        async with r.ticking():
            await write(host, noise(300_000))
            host.close()
            await turn_until(lambda: stream.eof_sent or stream.outbound > 200_000)
        r.carry(QUESTION)
        assert not stream.may_be_left
        assert len(r.lines) == 2
        del service


async def test_the_kernel_is_asked_about_a_few_only() -> None:
    """However many hosts have half-closed."""
    with rig() as r:
        asked: list[socket.socket] = []
        r.client._half_closed._local_has_closed = asked.append
        for _ in range(MAX_ASKED + 2):
            before = set(r.client.streams)
            host, _ = await r.both_beside()
            (stream,) = set(r.client.streams) - before
            host.shutdown(socket.SHUT_WR)
            await said(stream)
        await r.pass_by(2 * QUIET)
        r.client.on_accepted(FAR)
        asked.clear()
        await r.both_beside()
        assert len(asked) == len(set(asked)) == MAX_ASKED


async def test_an_upload_is_whole_where_the_next_stream_went_on_elsewhere() -> None:
    """Its connection is not closed before the server has heard it all."""
    with rig() as r:
        host, service = await carried(r)
        data = noise(50_000)
        r.lines[0].hold()
        await write(host, data)
        await close(r, host)
        second = r.carry(QUESTION)
        assert len(r.lines) == 1
        await r.until(lambda: len(r.lines) == 2)  # ACCEPT is late
        await turn_until(lambda: len(r.services) == 2)
        await write(r.services[1], b"answer")
        assert await read(second, 6) == b"answer"
        assert r.client.connections == 2
        r.lines[0].release()
        assert await read_to_end(service) == data
        await turn_until(lambda: r.client.connections == 1)
        assert [is_silent(each) for each in r.services[2:]] in ([], [True])


async def test_an_upload_has_its_time_where_its_service_is_slow() -> None:
    """As long as the server says that it is there."""
    with rig() as r:
        host = await carried_to_a_slow_service(r)
        r.client.on_accepted(FAR)
        data = noise(SLOW_SIZE)
        await write(host, data)
        await close(r, host)
        second = r.carry(QUESTION)
        await r.until(lambda: len(r.asked) == 1)  # ACCEPT is late, and tried beside
        r.asked.pop()(r.service())
        await write(r.services[1], b"answer")
        assert await read(second, 6) == b"answer"
        await r.pass_by(2 * RESET_LIMIT)
        assert r.client.connections == 2
        async with r.ticking():
            assert await read_to_end(r.services[0]) == QUESTION + data
            await turn_until(lambda: r.client.connections == 1)


async def test_an_upload_is_whole_where_its_service_takes_nothing_for_a_while() -> None:
    """The RESET behind its end says only that nobody hears the answer."""
    with rig() as r:
        host, service = await carried(r)
        data = noise(1_000_000)
        await write(host, data)
        await close(r, host)
        r.carry(QUESTION)
        await turn_until(lambda: len(r.services) == 2)
        assert (len(r.lines), r.server.draining) == (1, 1)
        await r.pass_by(0.9 * TAKING_LIMIT)
        assert await read_to_end(service) == data
        service.close()
        await turn_until(lambda: not r.server.draining)


async def test_a_stream_behind_one_whose_service_is_slow_is_tried_beside() -> None:
    """Though the server says that it is there: on a path where ACCEPT takes long."""
    with rig() as r:
        host = await carried_to_a_slow_service(r)
        usual = 3.0
        r.client._accept_times.usual = usual
        await write(host, noise(SLOW_SIZE))
        await close(r, host)
        r.reaches = True
        r.carry(QUESTION)
        assert len(r.lines) == 1
        await r.pass_by(TIMES * usual + 1.0)
        assert len(r.services) == 2
        assert len(r.lines) == 2


async def test_a_stream_that_has_waited_too_long_for_its_end_is_not_left() -> None:
    """Its path may be dead."""
    with rig() as r:
        host, _ = await carried(r)
        r.lines[0].hold()
        await close(r, host)
        await r.pass_by(TIMES * FAR + 1.0)
        assert r.stream.may_be_left
        await r.both_beside()
        assert len(r.lines) == 2


async def test_one_that_is_late_says_that_the_others_may_be_dead_as_well() -> None:
    """Only the first one pays for that."""
    with rig() as r:
        for _ in range(3):
            before = set(r.client.streams)
            host, _ = await r.both_beside()
            (stream,) = set(r.client.streams) - before
            host.close()
            await said(stream)
            r.lines[-1].hold()
            r.client._accept_times.usual = None  # none is left for the next one yet
        await r.pass_by(2 * QUIET)
        r.client.on_accepted(FAR)
        r.carry(QUESTION)
        assert len(r.lines) == 3
        await r.until(lambda: len(r.lines) == 4)
        r.client._accept_times.usual = 100.0  # however long one may wait
        r.carry(QUESTION)
        assert len(r.lines) == 5


@pytest.mark.parametrize(
    "answer",
    [data_frame(bytes(MOST_LEFT + 1)), data_header(10) + b"x"],
    ids=["long", "amid a frame"],
)
async def test_a_stream_amid_a_long_answer_is_not_left(answer: bytes) -> None:
    """The rest would be in the next one's way, and is as long as it likes."""
    with rig() as r:
        r.speaks_session = False
        host = r.carry(QUESTION)
        server = r.sockets[-1]
        await turn_until(lambda: r.client.streams and not is_silent(server))
        await write(server, frame(ACCEPT, b"\0\1") + answer)
        r.client.on_accepted(FAR)
        size = len(answer) - HEADER_SIZE
        assert len(await read(host, size)) == size
        stream = r.stream
        host.close()
        await turn_until(lambda: stream.eof_sent)
        connection = stream.connection
        assert connection is not None
        await turn_until(lambda: not connection.has_backlog)
        assert connection.can_send
        assert not stream.may_be_left


async def test_a_server_that_answers_no_reset_is_not_waited_for_without_end() -> None:
    """Nor does what it says then matter to anybody."""
    with rig() as r:
        host, _ = await carried(r)
        r.lines[0].hold()
        await close(r, host)
        second = r.carry(QUESTION)
        await r.until(lambda: len(r.lines) == 2)
        await turn_until(lambda: len(r.services) == 2)
        await r.pass_by(100.0)
        assert r.client.connections == 1
        await write(r.services[1], b"answer")
        assert await read(second, 6) == b"answer"


async def test_an_answer_behind_many_small_frames_is_heard_at_once() -> None:
    """More than are taken at a time, and nothing comes behind it."""
    with rig() as r:
        r.speaks_session = False
        host = r.carry(QUESTION)
        first = r.sockets[-1]
        await write(first, frame(ACCEPT, b"\0\1"))
        await turn_until(lambda: r.stream.kept is None)
        r.client.on_accepted(FAR)
        await close(r, host)
        r.carry(QUESTION)
        await r.until(lambda: len(r.lines) == 2)
        await write(r.sockets[-1], frame(ACCEPT, b"\0\1"))
        await turn_until(lambda: r.stream.kept is None)
        assert r.client.connections == 2
        resets = [frame(RESET, bytes([0, number, Cause.CUT])) for number in (1, 2)]
        await write(first, data_frame(b"x") * (MAX_FRAMES + 1) + b"".join(resets))
        await turn_until(lambda: r.client.connections == 1)


async def test_a_stream_that_was_left_is_whole_when_its_connection_ends() -> None:
    """Its service has heard all, and the next stream is tried elsewhere."""
    with rig() as r:
        host, service = await carried(r)
        r.reaches = False
        await close(r, host)
        second = r.carry(QUESTION)
        await turn_until(lambda: r.asked)
        assert await read_to_end(service) == b""
        r.lines[0].cut()
        async with r.ticking():
            await turn_until(lambda: r.server.opened == 3)
        r.asked.pop()(r.service())
        await turn_until(lambda: r.stream.kept is None)
        await write(r.services[-1], b"answer")
        assert await read(second, 6) == b"answer"
