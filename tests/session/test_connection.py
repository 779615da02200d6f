"""A PT connection with a session: signs of life, the end, and hostile peers."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

import pytest

from pt_bridge.net.sockets import reset
from pt_bridge.pool.accept_times import LEAST
from pt_bridge.pool.tries import MAX_ATTEMPTS
from pt_bridge.protocol.frames import (
    BEAT_FRAME,
    BYE_FRAME,
    DATAGRAMS,
    OPEN,
    PREFACE,
    RESET,
    TCP,
    Accepted,
    Cause,
    Ended,
    Left,
    Said,
    WasReset,
    data_frame,
    frame,
)
from pt_bridge.session.idle_period import (
    IDLE_LEAST,
    IDLE_MOST,
    LAST_WAIT,
    LAST_WORD,
    SERVER_IDLE,
)
from pt_bridge.session.peer_limits import MAX_IDLE_FRAMES, MAX_OPENS, WINDOW
from pt_bridge.session.silence import SOON, UNANSWERED_LIMIT, USUAL
from pt_bridge.session.watch import RESET_LIMIT
from tests.support.peer import Peer
from tests.support.rig import rig
from tests.support.tcp import (
    is_reset,
    noise,
    pair,
    read,
    read_to_end,
    turn_until,
    write,
)

if TYPE_CHECKING:
    from tests.support.rig import Rig

ID = b"12345678"
SMALL = 4096  # bytes that a socket holds
# So many refusals fit into no two such sockets.
MOST_UNREAD = 3000


# -- a server whose client a test plays ------------------------------------------------


async def a_client(r: Rig) -> Peer:
    """Act as a client of the rig's server: its preface is said."""
    sock, theirs = pair()
    r.sockets.append(sock)
    r.server.take(theirs)
    peer = Peer(sock, is_client=True)
    await peer.say(PREFACE)
    await turn_until(lambda: r.server.connections)
    return peer


async def a_server(r: Rig) -> tuple[Peer, socket.socket]:
    """Be the server of the rig's client, for one stream, and accept that."""
    sock, theirs = pair()
    r.sockets.append(sock)
    r.dials = False
    host = r.carry(b"x")
    await turn_until(lambda: r.dialled)
    r.dialled.pop()(theirs)
    peer = Peer(sock, is_client=False)
    assert await read(sock, len(PREFACE)) == PREFACE
    await peer.hear(bytes)
    return peer, host


def refused(number: int) -> tuple[bytes, bytes]:
    """Make a stream of no known kind, and the answer to its refusal."""
    said = number.to_bytes(2, "big")
    opened = frame(OPEN, said + bytes([DATAGRAMS]) + number.to_bytes(8, "big"))
    return opened, frame(RESET, said + bytes([Cause.CUT]))


# -- signs of life ---------------------------------------------------------------------


async def test_an_idle_stream_lives_for_hours() -> None:
    """BEAT goes both ways, and costs nothing else."""
    with rig() as r:
        host, service = await r.both()
        await r.pass_by(5 * 3600.0, step=5.0)
        await write(host, b"still there?")
        assert await read(service, 12) == b"still there?"
        await write(service, b"yes")
        assert await read(host, 3) == b"yes"
        assert len(r.lines) == 1


async def test_beat_is_said_after_a_minute_of_silence_and_only_with_a_stream() -> None:
    with rig() as r:
        peer = await a_client(r)
        await peer.say(peer.session.open(ID))
        await peer.hear(Accepted)
        await peer.say(BEAT_FRAME)
        await r.pass_by(USUAL)
        await peer.say(BEAT_FRAME)
        await peer.hear(Said)
        beats = len(peer.all(Said))
        assert beats >= 1
        await peer.say(peer.session.eof())
        await turn_until(lambda: r.server_stream.eof_received)
        r.services[0].close()
        await peer.hear(Ended)
        await turn_until(lambda: not r.server.streams)
        peer.hear_now()
        before = len(peer.all(Said))
        await r.pass_by(SERVER_IDLE - 1)
        peer.hear_now()
        assert len(peer.all(Said)) == before


async def test_a_client_that_only_listens_gets_no_more_than_a_sign_of_life() -> None:
    """A long download is never cut: what it hears, it answers with BEAT within 10 s."""
    with rig() as r:
        peer, _ = await a_server(r)
        await peer.say(peer.session.accept())
        for _ in range(60):
            await peer.say(data_frame(b"more"))
            await r.pass_by(SOON)
        peer.hear_now()
        assert len(peer.all(Said)) >= 50
        assert r.client.streams


async def test_a_peer_that_does_not_answer_is_given_up() -> None:
    """Both legs are reset: nobody knows what has got through."""
    with rig() as r:
        peer, host = await a_server(r)
        await peer.say(peer.session.accept())
        await turn_until(lambda: r.stream.kept is None)
        await write(host, b"a question")
        await peer.hear(bytes, 2)
        await r.pass_by(UNANSWERED_LIMIT - 1)
        assert r.client.streams
        await r.pass_by(2.0)
        assert await is_reset(host)
        assert await is_reset(peer.sock)


async def test_an_outage_is_survived_that_is_shorter() -> None:
    with rig() as r:
        host, service = await r.both()
        r.lines[0].hold()
        await write(host, b"a question")
        await r.pass_by(50.0)
        r.lines[0].release()
        assert await read(service, 10) == b"a question"
        await write(service, b"an answer")
        assert await read(host, 9) == b"an answer"


async def test_a_reader_that_pauses_for_an_hour_is_not_cut() -> None:
    """Its side does not read, and says BEAT meanwhile; the other's counts as life."""
    with rig() as r:
        host, service = await r.both()
        data = noise(600_000)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(write(service, data))
            await r.pass_by(3600.0, step=1.0)
            assert r.client.streams
            async with r.ticking():
                assert await read(host, len(data)) == data


async def test_a_used_connection_that_is_silent_soon_has_another_beside_it() -> None:
    """It may have died since; the stream is tried on a new one, too."""
    with rig() as r:
        host, service = await r.both()
        host.close()
        service.close()
        await r.over()
        assert r.client.idle == 1
        r.reaches = False
        r.lines[0].hold()
        r.carry(b"x")
        await turn_until(lambda: r.client.reused)
        await r.pass_by(LEAST + 0.5)
        await turn_until(lambda: len(r.lines) == 2)
        assert r.client.tried_again == 1


async def test_a_new_connection_that_is_silent_is_given_up_after_a_minute() -> None:
    with rig() as r:
        r.holds_lines = True
        host = r.carry(b"x")
        await turn_until(lambda: r.lines)
        await r.pass_by(LEAST - 0.25)
        assert len(r.lines) == 1
        await r.pass_by(UNANSWERED_LIMIT)
        assert len(r.lines) == 2
        await r.pass_by(2 * UNANSWERED_LIMIT + 2)
        assert await is_reset(host)
        assert len(r.lines) == MAX_ATTEMPTS + 1  # the last one beside the third


async def test_a_stream_that_is_tried_elsewhere_is_taken_back_first() -> None:
    """A server that was only slow must not give its service the request twice."""
    with rig() as r:
        peer, _ = await a_server(r)
        await r.pass_by(UNANSWERED_LIMIT + 1)
        await peer.hear(WasReset)
        assert r.client.tried_again == 1


@pytest.mark.parametrize("dropped", [False, True])
async def test_the_end_of_a_stream_is_left_to_a_pt_that_stands_still(
    *, dropped: bool
) -> None:
    """However long it takes: the stream is over, and its bytes are not there yet."""
    with rig() as r:
        host, service = await r.both()
        service.shutdown(socket.SHUT_WR)
        assert await read_to_end(host) == b""
        r.lines[0].hold()
        data = noise(600_000)
        await write(host, data)
        host.close()
        await r.over_on_client()
        if dropped:  # as where another connection turns out to be dead
            r.client._drop_idle("a test")
        await r.pass_by(IDLE_MOST + LAST_WAIT + 1)
        r.lines[0].release()
        async with r.ticking():
            assert await read_to_end(service) == data


async def test_a_server_that_is_slow_says_that_it_is_there() -> None:
    """Its service takes a while: nobody tries elsewhere."""
    with rig() as r:
        r.reaches = False
        host = r.carry(b"question")
        await turn_until(lambda: r.asked)
        await r.pass_by(2 * UNANSWERED_LIMIT)
        assert len(r.lines) == 1
        r.asked.pop()(r.service())
        assert await read(r.services[0], 8) == b"question"
        r.services[0].close()
        assert await read_to_end(host) == b""


async def test_a_reset_that_has_no_answer_ends_the_connection() -> None:
    """Though the peer is there."""
    with rig() as r:
        peer, host = await a_server(r)
        await peer.say(peer.session.accept())
        await turn_until(lambda: r.stream.kept is None)
        reset(host)
        await peer.hear(WasReset)
        began = r.clock.time()
        while r.client.connections:
            await peer.say(BEAT_FRAME)
            await r.pass_by(5.0)
        assert r.clock.time() - began > RESET_LIMIT
        assert await is_reset(peer.sock)
        assert not r.client.connections


# -- the end --------------------------------------------------------------------------


async def idle(r: Rig) -> None:
    """Carry a stream to its end, so that the connection is idle."""
    host, service = await r.both()
    host.close()
    service.close()
    await r.over()
    assert (r.client.idle, r.server.connections) == (1, 1)


async def test_an_idle_connection_takes_leave_and_leaves_nothing() -> None:
    """BYE, BYE, a last BYE for lyrebird, and the end."""
    with rig() as r:
        await idle(r)
        await r.pass_by(IDLE_LEAST - 1)
        assert r.client.idle == 1
        await r.pass_by(IDLE_MOST - IDLE_LEAST + 2)
        assert r.client.idle == 0
        await r.pass_by(LAST_WORD + LAST_WAIT)
        assert (r.client.connections, r.server.connections, r.timers) == (0, 0, 0)


async def test_the_last_word_is_said_once_more_and_then_an_end() -> None:
    """Lyrebird ends a connection when a write fails, and not before."""
    with rig() as r:
        peer, host = await a_server(r)
        await peer.say(peer.session.accept() + peer.session.eof())
        host.close()
        await peer.hear(Ended)
        await turn_until(lambda: r.client.idle)
        while not peer.all(Left):
            await r.pass_by(LAST_WAIT / 4)
            peer.hear_now()
        await peer.say(BYE_FRAME)
        for _ in range(20):
            await asyncio.sleep(0)
        await r.pass_by(2 * LAST_WORD)
        assert await read(peer.sock, len(BYE_FRAME)) == BYE_FRAME
        await r.pass_by(LAST_WAIT)
        assert await read_to_end(peer.sock) == b""
        assert r.client.connections == 0


async def test_a_server_that_does_not_answer_bye_is_left_all_the_same() -> None:
    with rig() as r:
        peer, host = await a_server(r)
        await peer.say(peer.session.accept() + peer.session.eof())
        host.close()
        await turn_until(lambda: r.client.idle)
        await r.pass_by(IDLE_MOST + 1)
        await r.pass_by(LAST_WAIT)
        assert r.client.connections == 0
        await peer.hear(Left)


async def test_bye_is_answered_and_the_leg_reset_in_the_same_turn() -> None:
    with rig() as r:
        peer = await a_client(r)
        await peer.say(peer.session.bye())
        await peer.hear(Left)
        assert await is_reset(peer.sock)
        assert r.server.connections == 0


async def test_a_client_that_never_takes_leave_is_left() -> None:
    with rig() as r:
        peer = await a_client(r)
        await r.pass_by(SERVER_IDLE + 1)
        assert await is_reset(peer.sock)
        assert (r.server.connections, r.timers) == (0, 0)


async def test_a_connection_is_used_again_for_300_streams() -> None:
    """And is ready for the next one each time."""
    with rig() as r:
        for number in range(300):
            question = b"%d" % number
            host, service = await r.both()
            await write(host, question)
            host.shutdown(socket.SHUT_WR)
            assert await read_to_end(service) == question
            await write(service, question[::-1])
            service.close()
            assert await read_to_end(host) == question[::-1]
            host.close()
            await r.over(number + 1)
            r.clock.pass_by(0.02)
        assert len(r.lines) == 1
        assert r.client.reused == 299


# -- hostile peers ---------------------------------------------------------------------


@pytest.mark.parametrize("frame", [BEAT_FRAME, b"\x80\0\0\2no"])
async def test_a_client_that_says_nothing_over_and_over_is_cut(frame: bytes) -> None:
    """Each frame would cost us a turn of the loop, and the client nothing."""
    with rig() as r:
        peer = await a_client(r)
        await peer.say(frame * MAX_IDLE_FRAMES)
        for _ in range(50):
            await asyncio.sleep(0)
        assert r.server.connections == 1
        r.clock.pass_by(WINDOW)
        await peer.say(frame * MAX_IDLE_FRAMES)
        for _ in range(50):
            await asyncio.sleep(0)
        assert r.server.connections == 1
        await peer.say(frame)
        assert await is_reset(peer.sock)
        assert r.server.connections == 0


async def test_streams_beyond_a_hundred_a_second_wait() -> None:
    """Honest reuse may reach that: none is cut, and the service is spared."""
    with rig() as r:
        r.reaches = Cause.REFUSED
        peer = await a_client(r)
        for number in range(1, MAX_OPENS + 1):
            await peer.say(peer.session.open(b"%08d" % number))
            await peer.hear(WasReset, number)
            await peer.say(peer.session.reset(Cause.CUT))
        assert r.server.opened == MAX_OPENS
        await peer.say(peer.session.open(b"the next"))
        for _ in range(100):
            await asyncio.sleep(0)
        assert r.server.opened == MAX_OPENS
        await r.pass_by(WINDOW)
        await peer.hear(WasReset, MAX_OPENS + 1)
        assert r.server.opened == MAX_OPENS + 1


async def test_a_client_that_opens_streams_and_reads_no_answer_is_cut() -> None:
    """Each answer would be kept; an honest client has read up to the last stream's."""
    with rig() as r:
        theirs, sock = pair(send_buffer=SMALL, receive_buffer=SMALL)
        r.sockets.append(sock)
        r.server.take(theirs)
        peer = Peer(sock, is_client=True)
        await peer.say(PREFACE)
        await turn_until(lambda: r.server.connections)
        number = 0
        while r.server.connections and number < MOST_UNREAD:
            number += 1
            opened, reset_too = refused(number)
            await peer.say(opened)
            await turn_until(
                lambda: r.server.opened == number or not r.server.connections  # noqa: B023
            )
            with contextlib.suppress(ConnectionError):
                await peer.say(reset_too)
            await turn_until(lambda: not r.server.streams)
            r.clock.pass_by(WINDOW / MAX_OPENS)
        assert r.server.connections == 0
        assert r.server.streams == set()


async def test_a_flood_of_tiny_frames_lets_others_take_their_turn() -> None:
    """At most so many frames a turn; and all arrives."""
    with rig() as r:
        peer = await a_client(r)
        await peer.say(peer.session.open(ID))
        await peer.hear(Accepted)
        data = noise(20_000)
        flood = b"".join(data_frame(bytes([each])) for each in data)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(peer.say(flood))
            assert await read(r.services[0], len(data)) == data


BREACHES = {
    "an unknown type": b"\x10\0\0\0",
    "data without a stream": data_frame(b"x"),
    "a frame that is too long": b"\x06\0\x02\x01" + bytes(513),
    "an empty frame of data": b"\x03\0\0\0",
    "what only servers say": b"\2\0\0\2\0\1",
    "a number that is not the next": b"\1\0\0\x0b\0\2\1" + ID,
}


@pytest.mark.parametrize("breach", BREACHES)
async def test_a_breach_ends_the_connection_and_nothing_else(breach: str) -> None:
    with rig() as r:
        host, service = await r.both()
        peer = await a_client_beside(r)
        await peer.say(BREACHES[breach])
        assert await is_reset(peer.sock)
        await write(host, b"x")
        assert await read(service, 1) == b"x"


async def a_client_beside(r: Rig) -> Peer:
    sock, theirs = pair()
    r.sockets.append(sock)
    r.server.take(theirs)
    peer = Peer(sock, is_client=True)
    await peer.say(PREFACE)
    await turn_until(lambda: r.server.connections == 2)
    return peer


async def test_a_breach_of_the_servers_resets_the_host() -> None:
    with rig() as r:
        peer, host = await a_server(r)
        await peer.say(peer.session.accept())
        await turn_until(lambda: r.stream.kept is None)
        await peer.say(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        assert await is_reset(host)
        assert await is_reset(peer.sock)


async def test_a_service_gets_what_its_client_said_before_a_breach() -> None:
    """And then a reset: it is not whole."""
    with rig() as r:
        peer = await a_client(r)
        await peer.say(peer.session.open(ID))
        await peer.hear(Accepted)
        await peer.say(data_frame(b"some"))
        assert await read(r.services[0], 4) == b"some"
        await peer.say(b"\x10\0\0\0")
        assert await is_reset(r.services[0])


async def test_another_kind_of_stream_is_refused_and_the_connection_goes_on() -> None:
    with rig() as r:
        peer = await a_client(r)
        await peer.say(peer.session.open(ID, kind=77))
        refusal = await peer.hear(WasReset)
        assert isinstance(refusal, WasReset)
        assert refusal.cause is Cause.UNSUPPORTED
        await peer.say(peer.session.reset(Cause.CUT))
        await peer.say(peer.session.open(ID, kind=TCP) + data_frame(b"x"))
        await peer.hear(Accepted)
        assert await read(r.services[0], 1) == b"x"


async def test_what_was_sent_before_a_refusal_was_heard_is_thrown_away() -> None:
    """An honest client would otherwise be cut for it."""
    with rig() as r:
        r.reaches = Cause.REFUSED
        peer = await a_client(r)
        opened = peer.session.open(ID)
        await peer.say(opened + data_frame(noise(60_000)) + peer.session.eof())
        await peer.hear(WasReset)
        await peer.say(peer.session.reset(Cause.CUT))
        await peer.say(peer.session.open(b"the next"))
        await peer.hear(WasReset, 2)
        assert r.server.connections == 1
