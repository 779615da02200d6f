"""The wire side of a PT, which is played here, as is the other machine."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
from typing import TYPE_CHECKING, cast

import pytest

from pt_bridge.connection import reset
from pt_bridge.greeting import Greeting
from pt_bridge.pump import End
from pt_bridge.sock_diag import SockDiag
from pt_bridge.wire import EOF_PATIENCE, HANDSHAKE_LIMIT, Outcome, Wire
from tests.clock import ClockedLoop
from tests.pumps import maker
from tests.tcp import (
    CLOSE_WAIT,
    CLOSED,
    closing,
    is_free,
    is_reset,
    is_silent,
    noise,
    pair,
    read,
    read_to_end,
    state,
    turn_until,
    wait_for_hangup,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pt_bridge.pump import PumpMaker

pytestmark = pytest.mark.usefixtures("every_pump")

HELLO, ANSWER, LARGE = noise(1000), noise(2000), noise(150_000)
MORE = 12_000_000  # bytes: more than what two connections hold unread
MOMENT = 0.001  # seconds, on a clock that only the test moves


class Rig:
    """A wire, its clock, and the two that use it: ``pt`` and ``peer``."""

    def __init__(
        self, limit: float, *, is_slow: bool, first_pump: PumpMaker | None
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.clock = ClockedLoop(self.loop)
        self.pt, leg = self.legs = pair(receive_buffer=200_000 if is_slow else 0)
        net, self.peer = self.nets = (
            pair(send_buffer=4096, receive_buffer=20_000) if is_slow else pair()
        )
        self.ends: list[Wire] = []
        self.pt_dies = False
        self.wire = Wire(
            cast("asyncio.AbstractEventLoop", self.clock),
            leg,
            net,
            self._ended,
            pt_is_ending=lambda: self.pt_dies,
            limit=limit,
            pump=maker.get(),
            first_pump=first_pump,
        )

    def _ended(self, wire: Wire) -> None:
        assert self.is_closed  # it says so only afterwards
        self.ends.append(wire)

    @property
    def is_closed(self) -> bool:
        """Whether both of the wire's sockets are closed."""
        return self.wire.leg.fileno() == self.wire.net.fileno() == -1

    async def over(self) -> Outcome:
        """Wait for the end, see that it is told of once, and give what it was."""
        await turn_until(lambda: self.ends)
        await asyncio.sleep(0)  # a turn in which it could be told of again
        self.clock.pass_by(2 * HANDSHAKE_LIMIT)
        assert self.ends == [self.wire]
        return self.wire.outcome

    async def speak(self) -> None:
        """Be both PTs, and say hello to each other."""
        for source, sink in ((self.peer, self.pt), (self.pt, self.peer)):
            await write(source, HELLO)
            assert await read(sink, len(HELLO)) == HELLO

    async def say(self, data: bytes) -> None:
        """Be the PT, and say something."""
        await write(self.pt, data)
        assert await read(self.peer, len(data)) == data

    async def see_eof(self) -> None:
        """Wait until the wire has noticed the peer's EOF."""
        await turn_until(lambda: self.wire.net_has_ended)


@contextlib.contextmanager
def rig(
    *,
    limit: float = HANDSHAKE_LIMIT,
    is_slow: bool = False,
    first_pump: PumpMaker | None = None,
) -> Iterator[Rig]:
    """Build a rig and take it down; see that the loop forgets its sockets.

    Args:
        limit: for the handshake.
        is_slow: whether the peer takes little unless it reads, and the leg a lot.
        first_pump: what the wire is given.
    """
    built = Rig(limit, is_slow=is_slow, first_pump=first_pump)
    with closing(built.legs, built.nets):
        descriptors = built.wire.leg.fileno(), built.wire.net.fileno()
        try:
            yield built
        finally:
            built.wire.drop()
        for descriptor in descriptors:  # another socket may get the number
            assert not built.loop.remove_reader(descriptor)
            assert not built.loop.remove_writer(descriptor)


async def test_what_the_pts_say_goes_both_ways() -> None:
    """RL-01: whole and in order, from the first byte."""
    data = noise(MORE)
    with rig() as r:
        async with asyncio.TaskGroup() as tasks:
            for source in (r.pt, r.peer):
                tasks.create_task(write(source, data))
            heard = [tasks.create_task(read(sink, MORE)) for sink in (r.pt, r.peer)]
        assert [task.result() for task in heard] == [data, data]
        assert (r.wire.out.moved, r.wire.inward.moved) == (MORE, MORE)
        assert r.wire.outcome is Outcome.OPEN
        assert r.wire.can_be_joined


async def test_who_probes_a_silent_pt_with_an_end_is_not_kept_waiting() -> None:
    """Wire: it must see what it would have seen of the PT itself."""
    with rig() as r:
        await write(r.peer, b"GET /")
        r.peer.shutdown(socket.SHUT_WR)
        assert await read_to_end(r.pt) == b"GET /"
        assert not r.wire.can_be_joined
        assert r.wire.net_has_ended
        await write(r.pt, ANSWER)
        r.pt.close()
        assert await read_to_end(r.peer) == ANSWER
        assert await r.over() is Outcome.NET_ENDED


async def test_the_end_of_a_server_that_says_nothing_reaches_the_pt_at_once() -> None:
    """Wire: it has only accepted; no tunnel can come of that."""
    with rig() as r:
        await r.say(HELLO)
        r.peer.shutdown(socket.SHUT_WR)
        assert await read_to_end(r.pt) == b""
        assert not r.wire.can_be_joined


async def test_the_end_of_a_peer_that_was_answered_waits_for_the_tunnel() -> None:
    """Closing: the PT would take it for the end of everything."""
    with rig() as r:
        await r.speak()
        await write(r.peer, ANSWER)
        r.peer.shutdown(socket.SHUT_WR)
        await r.see_eof()
        assert await read(r.pt, len(ANSWER)) == ANSWER
        r.clock.pass_by(EOF_PATIENCE - MOMENT)
        assert is_silent(r.pt)
        assert r.wire.can_be_joined
        r.clock.pass_by(MOMENT)
        assert not r.wire.can_be_joined
        assert await read_to_end(r.pt) == b""
        await r.say(ANSWER)  # it is not cut off from the other side
        r.pt.close()
        assert await r.over() is Outcome.NET_ENDED
        assert await read_to_end(r.peer) == b""


async def test_the_end_comes_after_all_that_a_slow_pt_was_sent() -> None:
    """RL-03: also where it was told late."""
    data = noise(MORE)
    with rig() as r:
        await r.speak()

        async def say() -> None:
            await write(r.peer, data)
            r.peer.shutdown(socket.SHUT_WR)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(say())
            heard = tasks.create_task(read(r.pt, MORE))
        assert heard.result() == data
        await r.see_eof()
        r.clock.pass_by(EOF_PATIENCE)
        assert await read_to_end(r.pt) == b""


async def test_a_pt_that_does_nothing_with_the_end_is_left_in_time() -> None:
    """SE-10: lyrebird, for one."""
    with rig() as r:
        r.peer.shutdown(socket.SHUT_WR)
        assert await read_to_end(r.pt) == b""
        r.clock.pass_by(HANDSHAKE_LIMIT - MOMENT)
        assert r.wire.outcome is Outcome.OPEN
        r.clock.pass_by(MOMENT)
        assert await r.over() is Outcome.NET_ENDED
        assert await read_to_end(r.peer) == b""


async def test_a_pt_that_hangs_up_hangs_up_on_the_peer() -> None:
    """RL-03: what it said before arrives, and then its end."""
    with rig() as r:
        await write(r.pt, ANSWER)
        r.pt.close()
        assert await read_to_end(r.peer) == ANSWER
        assert await r.over() is Outcome.PT_ENDED


async def test_a_pt_that_hangs_up_although_it_was_told_nothing_of_the_end() -> None:
    """Wire: the other side had ended, so that is what became of it."""
    with rig() as r:
        await r.speak()
        r.peer.shutdown(socket.SHUT_WR)
        await r.see_eof()
        r.pt.close()
        assert await r.over() is Outcome.NET_ENDED
        assert await read_to_end(r.peer) == b""


async def test_a_reset_by_the_peer_reaches_the_pt() -> None:
    """RL-10: a prober's, for one."""
    with rig() as r:
        await r.speak()
        reset(r.peer)
        assert await is_reset(r.pt)
        assert await r.over() is Outcome.NET_RESET
        assert not r.wire.can_be_joined


async def test_a_pt_that_dies_is_a_reset() -> None:
    """Design 3: a client that is let in already would see an empty answer."""
    with rig() as r:
        await r.speak()
        r.pt_dies = True
        r.pt.close()
        assert await is_reset(r.peer)
        assert await r.over() is Outcome.PT_ENDED


async def test_a_pt_that_gives_up_the_tunnel_that_it_has_called_for_is_a_reset() -> (
    None
):
    """EO-09: where the host is slow, it does after 5 s."""
    with rig() as r:
        await r.speak()
        r.wire.claim()
        r.pt.close()
        assert await is_reset(r.peer)
        assert await r.over() is Outcome.PT_ENDED


async def test_a_reset_by_the_pt_reaches_the_peer() -> None:
    """RL-10: it closes so where it leaves something unread."""
    with rig() as r:
        await r.speak()
        reset(r.pt)
        assert await is_reset(r.peer)
        assert await r.over() is Outcome.PT_ENDED


async def test_a_reset_by_the_pt_after_the_end_of_the_peer() -> None:
    """RL-10: likewise."""
    with rig() as r:
        r.peer.shutdown(socket.SHUT_WR)
        await r.see_eof()
        reset(r.pt)
        assert await is_reset(r.peer)
        assert await r.over() is Outcome.NET_ENDED


async def test_a_peer_that_resets_while_the_pt_speaks() -> None:
    """RL-10: found by a write as well as by a read."""
    with rig() as r:
        async with asyncio.TaskGroup() as tasks:
            speaks = tasks.create_task(speak_on(r.pt))
            await turn_until(lambda: r.wire.out.is_blocked)
            reset(r.peer)
            assert await r.over() is Outcome.NET_RESET
            await speaks
        wait_for_hangup(r.pt)


async def test_a_pt_that_resets_while_the_peer_speaks() -> None:
    """RL-10: both of its ways are watched, and each may be the first to tell."""
    with rig() as r:
        async with asyncio.TaskGroup() as tasks:
            speaks = tasks.create_task(speak_on(r.peer))
            await turn_until(lambda: r.wire.inward.is_blocked)
            reset(r.pt)
            assert await r.over() is Outcome.PT_ENDED
            await speaks
        wait_for_hangup(r.peer)


async def test_a_peer_that_resets_behind_its_end_while_the_pt_speaks() -> None:
    """RL-10: nobody reads from it any more, but somebody writes."""
    with rig() as r:
        r.peer.shutdown(socket.SHUT_WR)
        assert await read_to_end(r.pt) == b""
        async with asyncio.TaskGroup() as tasks:
            speaks = tasks.create_task(speak_on(r.pt))
            await turn_until(lambda: r.wire.out.is_blocked)
            reset(r.peer)
            assert await r.over() is Outcome.NET_RESET
            await speaks


async def test_an_answer_that_was_cut_does_not_look_whole_to_a_slow_peer() -> None:
    """SK-13: though the PT's reset was met by a write, and is told of only once."""
    with rig() as r:
        async with asyncio.TaskGroup() as tasks:
            speaks = tasks.create_task(speak_on(r.pt))
            await turn_until(lambda: r.wire.out.is_blocked)
            speaks.cancel()
        with contextlib.suppress(BlockingIOError):
            while r.pt.send(LARGE):
                pass
        r.pt.close()
        await be_noticed_gone(r)
        before = r.wire.out.moved
        assert await is_reset(r.peer)
        assert await r.over() is Outcome.PT_ENDED
        assert r.wire.out.moved > before


async def test_a_pt_that_is_gone_has_its_answer_delivered_to_a_slow_peer() -> None:
    """RL-03: it has said all, and its end; that it takes nothing more is no matter."""
    with rig(is_slow=True) as r:
        await write(r.pt, LARGE)
        r.pt.close()
        await turn_until(lambda: state(r.wire.leg) == CLOSE_WAIT)
        await turn_until(lambda: r.wire.out.is_blocked)
        await be_noticed_gone(r)
        assert await read_to_end(r.peer) == LARGE
        assert await r.over() is Outcome.PT_ENDED


async def be_noticed_gone(r: Rig) -> None:
    """Be a peer that speaks to a PT that has closed."""
    await write(r.peer, b"who")
    await turn_until(lambda: state(r.wire.leg) == CLOSED)
    await write(r.peer, b"is there?")
    await turn_until(lambda: is_silent(r.wire.net))
    assert r.wire.outcome is Outcome.OPEN


async def speak_on(sock: socket.socket) -> None:
    """Send without an end, until the other side has had enough."""
    data = noise(100_000)
    with contextlib.suppress(OSError):
        while True:
            await write(sock, data)


async def test_a_handshake_takes_as_long_as_it_may_and_no_longer() -> None:
    """SE-10: obfs4's servers, for one, let strangers wait for up to 90 s."""
    assert HANDSHAKE_LIMIT > 90
    with rig(limit=10) as r:
        await r.speak()
        r.clock.pass_by(10 - MOMENT)
        assert r.wire.can_be_joined
        r.clock.pass_by(MOMENT)
        assert not r.wire.can_be_joined
        assert await is_reset(r.pt)
        assert await is_reset(r.peer)
        assert await r.over() is Outcome.LATE


async def test_one_that_nobody_wants_any_more_is_reset() -> None:
    """RL-11: as when the PT dies; to say so again changes nothing."""
    with rig() as r:
        await r.speak()
        r.wire.drop()
        r.wire.drop()
        assert await is_reset(r.pt)
        assert await is_reset(r.peer)
        assert await r.over() is Outcome.DROPPED
        assert not r.wire.can_be_joined


@pytest.mark.parametrize("slow", ["pt", "peer"])
async def test_one_that_is_dropped_while_bytes_wait_leaves_nothing(slow: str) -> None:
    """RL-11: whichever side takes nothing."""
    with rig() as r:
        source, pump = (r.peer, r.wire.inward) if slow == "pt" else (r.pt, r.wire.out)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(speak_on(source))
            await turn_until(lambda: pump.is_blocked)
            r.wire.drop()
        assert await r.over() is Outcome.DROPPED


class Tunnel:
    """What takes a wire over, as far as the wire knows it."""

    def __init__(self) -> None:
        self.emptied: list[End] = []
        self.fed: list[End] = []

    def join(self, wire: Wire) -> None:
        wire.join(emptied=self.emptied.append, fed=self.fed.append)


@contextlib.contextmanager
def joined(r: Rig) -> Iterator[Tunnel]:
    """Take a wire over; see that from then on all is the tunnel's."""
    tunnel = Tunnel()
    tunnel.join(r.wire)
    try:
        yield tunnel
        r.clock.pass_by(2 * HANDSHAKE_LIMIT)
        r.wire.drop()
        assert r.ends == []
        assert not r.is_closed
    finally:
        r.wire.out.stop()
        r.wire.inward.stop()
        assert is_free(r.loop, r.wire.leg, r.wire.net)
        r.wire.leg.close()
        r.wire.net.close()


async def test_a_tunnel_takes_over_pumps_that_run() -> None:
    """Wire: not a byte is lost in between, nor does a time limit go on."""
    data = noise(MORE)
    with rig() as r:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(write(r.peer, data))
            await turn_until(lambda: r.wire.inward.is_blocked)
            with joined(r) as tunnel:
                assert await read(r.pt, MORE) == data
                await r.speak()
                assert (tunnel.emptied, tunnel.fed) == ([], [])


@pytest.mark.parametrize("kind", ["end", "reset"])
async def test_a_tunnel_hears_how_each_way_ends(kind: str) -> None:
    """Closing: what that means is for the tunnel, and the wire does nothing more."""
    expected = End.EOF if kind == "end" else End.SOURCE_RESET
    with rig() as r, joined(r) as tunnel:
        for sock, heard in ((r.peer, tunnel.fed), (r.pt, tunnel.emptied)):
            assert heard == []
            if kind == "end":
                sock.shutdown(socket.SHUT_WR)
            else:
                reset(sock)
            await turn_until(lambda heard=heard: heard)  # type: ignore[misc]
            assert heard == [expected]
        if kind == "end":
            assert is_silent(r.pt)
            assert is_silent(r.peer)


async def test_a_tunnel_may_begin_while_an_end_waits() -> None:
    """Closing: it finds that the other side has ended, and is not told of it again."""
    with rig() as r:
        await r.speak()
        r.peer.shutdown(socket.SHUT_WR)
        await r.see_eof()
        assert r.wire.can_be_joined
        with joined(r) as tunnel:
            r.clock.pass_by(EOF_PATIENCE)
            assert is_silent(r.pt)
            assert tunnel.fed == []
            await write(r.pt, ANSWER)
            assert await read(r.peer, len(ANSWER)) == ANSWER
            r.pt.close()
            await turn_until(lambda: tunnel.emptied)
            assert tunnel.emptied == [End.EOF]


@pytest.mark.parametrize("is_first", [True, False], ids=["before", "behind"])
@pytest.mark.parametrize("speaks", [True, False], ids=["speaks", "is silent"])
async def test_the_end_waits_for_the_tunnel_that_the_pt_has_called_for(
    *, is_first: bool, speaks: bool
) -> None:
    """EO-09: the host may take its time, whether the end comes before or after."""
    with rig() as r:
        if speaks:
            await r.speak()
        if is_first:
            r.wire.claim()
        r.peer.shutdown(socket.SHUT_WR)
        await r.see_eof()
        r.wire.claim()
        r.clock.pass_by(2 * HANDSHAKE_LIMIT)
        is_late = not (is_first or speaks)
        assert r.wire.can_be_joined is not is_late
        assert is_silent(r.pt) is not is_late


async def test_a_wire_that_is_claimed_still_tells_of_its_end() -> None:
    """Wire: whoever waits for the host finds that nobody does any more."""
    with rig() as r:
        await r.speak()
        r.wire.claim()
        reset(r.peer)
        assert await r.over() is Outcome.NET_RESET
        r.wire.claim()
        assert not r.wire.can_be_joined


async def test_the_end_of_a_pt_while_the_peers_waits_is_no_reset() -> None:
    """RL-03: the answer that it gave before is whole."""
    with rig() as r:
        await r.speak()
        r.peer.shutdown(socket.SHUT_WR)
        await r.see_eof()
        await write(r.pt, ANSWER)
        r.pt.close()
        assert await read_to_end(r.peer) == ANSWER
        assert await r.over() is Outcome.NET_ENDED


async def test_a_pt_may_half_close_without_being_cut_off() -> None:
    """Wire: that is how it ends, as far as the wire is concerned."""
    with rig() as r:
        r.pt.shutdown(socket.SHUT_WR)
        assert await r.over() is Outcome.PT_ENDED
        assert await read_to_end(r.peer) == b""
        await turn_until(lambda: state(r.pt) != CLOSE_WAIT)


@contextlib.contextmanager
def greeted() -> Iterator[Rig]:
    """Build a rig of a client's: the other side may speak first."""
    with SockDiag() as sock_diag:
        first_pump = functools.partial(Greeting, sock_diag=sock_diag)
        with rig(first_pump=first_pump) as r:
            yield r


async def be_held_back(r: Rig) -> None:
    """Wait until all has come, and its last byte waits."""
    await write(r.peer, ANSWER)
    await turn_until(lambda: r.wire.inward.is_blocked)


async def test_a_greeting_waits_for_a_tunnel_with_its_last_byte() -> None:
    """Greeting: and everything after it comes as usual."""
    with greeted() as r:
        await be_held_back(r)
        assert await read(r.pt, len(ANSWER) - 1) == ANSWER[:-1]
        assert is_silent(r.pt)
        with joined(r) as tunnel:
            await write(r.peer, LARGE)
            assert await read(r.pt, 1 + len(LARGE)) == ANSWER[-1:] + LARGE
            await r.say(HELLO)
            assert (tunnel.emptied, tunnel.fed) == ([], [])


async def test_the_end_of_a_greeting_is_told_to_the_tunnel() -> None:
    """Greeting: it is not read before the last byte was fed."""
    with greeted() as r:
        await be_held_back(r)
        r.peer.shutdown(socket.SHUT_WR)
        with joined(r) as tunnel:
            await turn_until(lambda: tunnel.fed)
            assert tunnel.fed == [End.EOF]
            assert await read(r.pt, len(ANSWER)) == ANSWER
            assert not r.wire.net_has_ended


async def test_a_greeting_whose_end_came_first_is_not_ended_twice() -> None:
    """Closing: the tunnel finds that the other side has ended."""
    with greeted() as r:
        await r.say(HELLO)
        await be_held_back(r)
        r.peer.shutdown(socket.SHUT_WR)
        assert await read(r.pt, len(ANSWER) - 1) == ANSWER[:-1]
        while not r.wire.net_has_ended:
            r.clock.pass_by(MOMENT)
            await asyncio.sleep(0)
        assert await read(r.pt, 1) == ANSWER[-1:]
        with joined(r) as tunnel:
            await write(r.pt, ANSWER)
            assert await read(r.peer, len(ANSWER)) == ANSWER
            assert tunnel.fed == []


async def test_a_tunnel_hears_of_a_pt_that_does_not_take_its_greeting() -> None:
    """Closing: it has failed then, and so has the tunnel."""
    with greeted() as r:
        await be_held_back(r)
        reset(r.pt)
        wait_for_hangup(r.wire.leg)
        with joined(r) as tunnel:
            await turn_until(lambda: tunnel.emptied)
            assert tunnel.emptied == [End.EOF]
