"""The server's side: who speaks the session, and what services are reached for."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest

from pt_bridge.protocol.address import Address
from pt_bridge.protocol.frames import (
    BEAT_FRAME,
    PREFACE,
    Accepted,
    Cause,
    Ended,
    Said,
    WasReset,
    data_frame,
)
from pt_bridge.relay.pipes import PipePool
from pt_bridge.session.eviction import PATIENCE
from pt_bridge.session.recogniser import SILENT
from pt_bridge.session.server import NO_SESSION, SAID_NOTHING, SEEN_FOR, SessionServer
from pt_bridge.session.sessions import Limits
from tests.support.clock import ClockedLoop
from tests.support.peer import Peer
from tests.support.rig import rig
from tests.support.tcp import is_reset, is_silent, pair, read, turn_until, write

if TYPE_CHECKING:
    from tests.support.rig import Rig

ID = b"12345678"
CLIENT = Address("192.0.2.7", 5000)


def a_client(r: Rig) -> Peer:
    """Act as a client of the rig's server."""
    sock, theirs = pair()
    r.sockets.append(sock)
    r.server.take(theirs, CLIENT)
    return Peer(sock, is_client=True)


async def opened(r: Rig, id: bytes = ID) -> Peer:
    """Act as a client that has opened a stream."""
    peer = a_client(r)
    await peer.say(PREFACE + peer.session.open(id) + data_frame(b"x"))
    return peer


async def refusal(peer: Peer) -> Cause:
    """Return why a stream was not taken."""
    event = await peer.hear(WasReset)
    assert isinstance(event, WasReset)
    assert not peer.all(Accepted)
    return event.cause


async def test_a_client_with_a_session_is_served() -> None:
    with rig() as r:
        peer = await opened(r)
        await peer.hear(Accepted)
        assert await read(r.services[0], 1) == b"x"
        assert r.reached_for == [CLIENT]
        assert (r.server.reused, r.server.cuts, r.left) == (0, 0, [])
    assert r.left == [CLIENT]


async def test_a_client_without_one_is_handed_on_with_what_was_read_of_it() -> None:
    with rig() as r:
        peer = a_client(r)
        await peer.say(b"GET / HTTP/1.0")
        await turn_until(lambda: r.plain)
        assert [what[1:] for what in r.plain] == [(b"GET / HTTP/1.0", None, CLIENT)]
        assert r.left == []  # whoever has it now knows when it ends
        assert r.server.connections == 0


async def test_where_only_sessions_are_served_others_are_reset() -> None:
    """And no service is reached for one that says nothing."""
    clock = ClockedLoop(asyncio.get_running_loop())
    loop = clock.as_loop
    reached: list[object] = []
    failures: list[str] = []
    left: list[object] = []
    with PipePool() as pipes:
        server = SessionServer(
            loop,
            pipes,
            Limits(),
            print,
            reach=lambda *what: reached.append(what),
            on_plain=None,
            on_client_failed=failures.append,
            on_client_left=left.append,
            room=lambda: 1,
        )
        for says in (b"hello", b""):
            sock, theirs = pair()
            with sock:
                server.take(theirs, CLIENT)
                await write(sock, says)
                if not says:
                    clock.pass_by(SILENT)
                assert await is_reset(sock)
        server.cut()
    assert reached == []
    assert failures == [NO_SESSION, SAID_NOTHING]
    assert left == [CLIENT, CLIENT]


@pytest.mark.parametrize("cause", [Cause.REFUSED, Cause.UNREACHABLE, Cause.BUSY])
async def test_a_service_that_is_not_reached_is_told_of_and_why(cause: Cause) -> None:
    with rig() as r:
        r.reaches = cause
        assert await refusal(await opened(r)) is cause
        assert r.server.connections == 1


async def test_a_stream_that_was_accepted_is_not_taken_twice() -> None:
    """For two minutes: its client tries no longer."""
    with rig() as r:
        first = await opened(r)
        await first.hear(Accepted)
        first.sock.close()
        assert await is_reset(r.services[0])
        r.clock.pass_by(SEEN_FOR - 1)
        assert await refusal(await opened(r)) is Cause.SEEN
        other = await opened(r, b"another.")
        await other.hear(Accepted)
        r.clock.pass_by(2)
        late = await opened(r)
        await late.hear(Accepted)


async def test_a_stream_that_was_never_accepted_may_come_again() -> None:
    with rig() as r:
        r.reaches = Cause.REFUSED
        assert await refusal(await opened(r)) is Cause.REFUSED
        r.reaches = True
        await (await opened(r)).hear(Accepted)


async def test_of_two_tries_at_once_the_last_is_accepted() -> None:
    """The service is reached once, and the first try may be on a dead connection."""
    with rig() as r:
        r.reaches = False
        first, second = await opened(r), await opened(r)
        await turn_until(lambda: len(r.server.streams) == 2)
        (answer,) = r.asked
        r.asked.clear()
        answer(r.service())
        await second.hear(Accepted)
        assert await refusal(first) is Cause.SEEN
        assert await read(r.services[0], 1) == b"x"
        assert await refusal(await opened(r)) is Cause.SEEN


async def test_of_two_tries_at_once_the_one_whose_client_is_there_is_accepted() -> None:
    with rig() as r:
        r.reaches = False
        first, second = await opened(r), await opened(r)
        await turn_until(lambda: len(r.server.streams) == 2)
        second.sock.close()
        r.asked.pop()(r.service())
        await first.hear(Accepted)
        assert await read(r.services[0], 1) == b"x"


async def test_two_tries_at_once_hear_that_there_is_no_service() -> None:
    """And a third one has it reached again."""
    with rig() as r:
        r.reaches = False
        tries = await opened(r), await opened(r)
        await turn_until(lambda: len(r.server.streams) == 2)
        r.asked.pop()(Cause.BUSY)
        for each in tries:
            assert await refusal(each) is Cause.BUSY
        await opened(r)
        await turn_until(lambda: r.asked)
        r.asked.pop()(Cause.BUSY)


async def test_a_client_that_has_gone_needs_no_service_any_more() -> None:
    with rig() as r:
        r.reaches = False
        peer = await opened(r)
        await turn_until(lambda: r.asked)
        peer.sock.close()
        r.asked.pop()(r.service())
        assert await is_reset(r.services[0])
        # It was not accepted, and may come again.
        r.reaches = True
        await (await opened(r)).hear(Accepted)


async def test_a_client_that_resets_its_stream_meanwhile_needs_none_either() -> None:
    with rig() as r:
        r.reaches = False
        peer = a_client(r)
        await peer.say(PREFACE + peer.session.open(ID))
        await turn_until(lambda: r.asked)
        await peer.say(peer.session.reset(Cause.CUT))
        await peer.hear(WasReset)
        r.asked.pop()(r.service())
        assert await is_reset(r.services[0])
        assert r.server.connections == 1


async def test_who_is_still_looked_at_is_cut_with_the_others() -> None:
    with rig() as r:
        peer = a_client(r)
        await peer.say(PREFACE[:3])
        r.server.cut()
        assert await is_reset(peer.sock)


# -- where there is room for no more ---------------------------------------------------


@pytest.mark.parametrize("says", [b"", PREFACE[:5], PREFACE, PREFACE + BEAT_FRAME])
async def test_who_opens_no_stream_goes_where_others_need_room(says: bytes) -> None:
    """Though it holds the cert; and who has a stream stays, however silent."""
    with rig() as r:
        r.room = 2
        served = await opened(r)
        await served.hear(Accepted)
        silent = a_client(r)
        await silent.say(says)
        await r.pass_by(2 * PATIENCE)
        assert is_silent(silent.sock)
        late = await opened(r, b"another.")
        await late.hear(Accepted)
        assert await is_reset_behind_beats(silent)
        await r.pass_by(2 * PATIENCE)
        assert r.left == [CLIENT]
        assert r.server.connections == 2


async def test_who_rests_after_a_stream_goes_too_and_the_longest_first() -> None:
    with rig() as r:
        r.room = 2
        resting = [await opened(r, bytes([each]) * 8) for each in range(2)]
        for each in resting:
            await each.hear(Accepted)
            await each.say(each.session.reset(Cause.CUT))
            await each.hear(WasReset)
            await r.pass_by(1)
        await r.pass_by(2 * PATIENCE)
        late = a_client(r)
        assert await is_reset_behind_beats(resting[0])
        for each in (resting[1], late):
            assert is_silent(each.sock)


async def test_whose_place_is_needed_its_way_to_the_pt_is_cut_too() -> None:
    """A lyrebird would keep it for as long as the client is silent."""
    with rig() as r:
        cut: list[int] = []
        for each in range(2):
            sock, theirs = pair()
            r.sockets.append(sock)
            r.server.take(theirs, CLIENT, lambda each=each: cut.append(each))  # type: ignore[misc]
        assert not r.server.drop_silent()
        r.clock.pass_by(PATIENCE)
        assert r.server.drop_silent()
        assert cut == [0]


async def is_reset_behind_beats(peer: Peer) -> bool:
    """Whether nothing comes but BEAT, and then the end."""
    try:
        await peer.hear(Accepted, len(peer.all(Accepted)) + 1)
    except (EOFError, ConnectionResetError):
        return {type(each) for each in peer.heard} <= {Said, Accepted, WasReset}
    return False


async def test_who_retires_keeps_no_connection_that_carries_nothing() -> None:
    """Neither one that a client keeps ready, nor one that comes, nor one that is over.

    A stream that its client opens on it just then is tried on another.
    """
    with rig() as r:
        ready, busy = a_client(r), await opened(r)
        await ready.say(PREFACE)
        await busy.hear(Accepted)
        await turn_until(lambda: r.server.connections == 2)
        r.server.retire()
        assert r.server.connections == 1
        assert await is_reset(ready.sock)
        late = a_client(r)
        await late.say(PREFACE)
        assert await is_reset(late.sock)
        assert await read(r.services[0], 1) == b"x"
        r.services[0].shutdown(socket.SHUT_WR)
        await busy.hear(Ended)
        await busy.say(busy.session.eof())
        await turn_until(lambda: not r.server.connections)
