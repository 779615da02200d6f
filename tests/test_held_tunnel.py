"""One tunnel through a PT that is held at both ends; all the others are played here."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
from typing import TYPE_CHECKING, TypeVar, cast

import pytest

from pt_bridge.connection import half_close, reset, unsent
from pt_bridge.farewell import FAREWELL_LIMIT
from pt_bridge.held_tunnel import (
    FIRST_LOOK_AT_HOST,
    LOST_LIMIT,
    MANNERS_PATIENCE,
    HeldTunnel,
)
from pt_bridge.passage import BLIND_SETTLE
from pt_bridge.protocol.closing import Way
from pt_bridge.sock_diag import FIN_WAIT1, FIN_WAIT2, SockDiag
from pt_bridge.tunnel import BLIND_LINGER, LINGER
from pt_bridge.wire import Wire
from tests.clock import ClockedLoop
from tests.played_pt import CLOSES_ALL, KEEPS, KINDS, PASSES_ON, PlayedPt, Process
from tests.pumps import maker
from tests.tcp import (
    CLOSED,
    closing,
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
    from collections.abc import Callable, Coroutine, Iterator

    from pt_bridge.manners import Manners
    from tests.tcp import Pair

T = TypeVar("T")

pytestmark = pytest.mark.usefixtures("every_pump")

FOR_EVER = 3600.0
MOMENT = 0.001  # seconds, on a clock that only the test moves
QUESTION, ANSWER = b"GET / HTTP/1.0\r\n\r\n", noise(100_000)
WAYS = list(Way)
every_way = pytest.mark.parametrize("way", WAYS, ids=[way.name for way in WAYS])
every_kind = pytest.mark.parametrize("kind", KINDS)


class Rig:
    """A tunnel, and who uses it: ``host``, ``pt`` and ``peer``, on the Internet."""

    def __init__(
        self,
        pairs: dict[str, Pair],
        manners: Manners,
        sock_diag: SockDiag,
        *,
        linger: float | None,
        idle: float | None,
        clock: ClockedLoop | None,
    ) -> None:
        loop = cast("asyncio.AbstractEventLoop", clock or asyncio.get_running_loop())
        self.near, self.host = pairs["host"]
        self.plain, plain = pairs["plain"]
        self.leg, wire = pairs["wire"]
        self.net, self.peer = pairs["peer"]
        self.pt = PlayedPt(plain, wire)
        self.manners = manners
        self.endings: list[HeldTunnel] = []
        self.wire = Wire(
            loop,
            self.leg,
            self.net,
            _never,
            pt_is_ending=lambda: False,
            pump=maker.get(),
        )
        self._join = functools.partial(
            HeldTunnel,
            loop,
            self.near,
            self.plain,
            self.wire,
            linger=linger,
            idle=idle,
            manners=manners,
            ended=self._ended,
            sock_diag=sock_diag,
            pump=maker.get(),
        )
        self.tunnel: HeldTunnel

    def join(self) -> None:
        """Begin the tunnel."""
        self.tunnel = self._join()

    def _ended(self, tunnel: HeldTunnel) -> None:
        assert self.is_closed  # it says so only afterwards
        self.endings.append(tunnel)

    @property
    def is_closed(self) -> bool:
        """Whether all of the tunnel's sockets are closed."""
        legs = (self.near, self.plain, self.leg, self.net)
        return all(sock.fileno() == -1 for sock in legs)

    async def over(self) -> None:
        """Wait for the tunnel's end, and see that it is told of once."""
        await turn_until(lambda: self.endings)
        await asyncio.sleep(0)  # a turn in which it could be told of again
        assert self.endings == [self.tunnel]

    def ends(self, way: Way) -> Pair:
        """Give the outer ends of a way: who speaks, and who hears."""
        return (self.host, self.peer) if way is Way.OUT else (self.peer, self.host)

    def pts(self, way: Way) -> Pair:
        """Give the PT's ends of a way: where it reads, and where it writes."""
        ends = self.pt.plain, self.pt.wire
        return ends if way is Way.OUT else ends[::-1]


def _never(wire: Wire) -> None:
    raise AssertionError("a wire that is a tunnel's has no end of its own")


@contextlib.contextmanager
def rig(
    kind: str = "",
    *,
    keeps: bool | None = None,
    process: Process | None = None,
    linger: float | None = FOR_EVER,
    idle: float | None = None,
    clock: ClockedLoop | None = None,
    knows: bool = True,
    slow: str = "",
    join: bool = True,
) -> Iterator[Rig]:
    """Build a rig and take it down; see that its tunnel leaves nothing.

    Args:
        kind: what the PT does; without it, the test plays it by hand.
        keeps: what is known of it.
        process: the PT's.
        linger: the tunnel's.
        idle: the tunnel's.
        clock: the tunnel's.
        knows: whether the kernel tells anything.
        slow: whose connection takes little unless it is read: "host" or "peer".
        join: whether there is a tunnel from the beginning.
    """
    small = {"send_buffer": 4096, "receive_buffer": 20_000}
    pairs = {
        name: pair(**small) if name == slow else pair()
        for name in ("host", "plain", "wire", "peer")
    }
    manners = (process or Process()).manners()
    manners.keeps = keeps
    with closing(*pairs.values()), contextlib.ExitStack() as stack:
        sock_diag = SockDiag()
        if knows:
            stack.enter_context(sock_diag)
        built = Rig(pairs, manners, sock_diag, linger=linger, idle=idle, clock=clock)
        stack.callback(built.pt.close)
        descriptors = [both[0].fileno() for both in pairs.values()]
        if kind:
            built.pt.run(kind)
        if join:
            built.join()
        try:
            yield built
        finally:
            if not built.endings:
                built.tunnel.reset()
        loop = asyncio.get_running_loop()
        for descriptor in descriptors:  # another socket may get the number
            assert not loop.remove_reader(descriptor)
            assert not loop.remove_writer(descriptor)
        assert built.is_closed
        assert built.endings == [built.tunnel]
        assert manners.tunnels == 0


async def upload(sock: socket.socket) -> None:
    """Send without an end, until the other side has had enough."""
    data = noise(100_000)
    with contextlib.suppress(OSError):
        while True:
            await write(sock, data)


async def say_and_end(sock: socket.socket, data: bytes) -> None:
    """Send all of it, and half-close."""
    await write(sock, data)
    sock.shutdown(socket.SHUT_WR)


async def exchange(r: Rig) -> None:
    """See that bytes go both ways."""
    for way in WAYS:
        source, sink = r.ends(way)
        await write(source, QUESTION)
        assert await read(sink, len(QUESTION)) == QUESTION


async def meanwhile(clock: ClockedLoop, what: Coroutine[None, None, T]) -> T:
    """Let time pass, a moment a turn, until something has happened."""
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(what)
        await pass_until(clock, task.done)
    return task.result()


async def pass_until(
    clock: ClockedLoop, is_so: Callable[[], object], *, step: float = MOMENT
) -> None:
    """Let time pass, so many seconds a turn, until something is so."""
    while not is_so():
        clock.pass_by(step)
        await asyncio.sleep(0)


async def pass_for(clock: ClockedLoop, seconds: float) -> None:
    """Let so much time pass."""
    end = clock.now + seconds
    await pass_until(clock, lambda: clock.now > end, step=0.02)


# -- bytes and their ends --------------------------------------------------------------


async def test_bytes_go_both_ways_at_once() -> None:
    """RL-01: whole and in order; the tunnel counts the host's."""
    data = noise(10_000_000)
    with rig(KEEPS) as r:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(write(r.host, data))
            tasks.create_task(write(r.peer, data))
            at_host = tasks.create_task(read(r.host, len(data)))
            at_peer = tasks.create_task(read(r.peer, len(data)))
        assert at_host.result() == at_peer.result() == data
        assert r.tunnel.moved == 2 * len(data)
        assert not r.endings


@every_kind
@every_way
@pytest.mark.parametrize("size", [0, 1, 1000, 5_000_000])
async def test_an_end_comes_through_any_pt_and_the_other_way_lives_on(
    kind: str, way: Way, size: int
) -> None:
    """RL-02, RL-03: all that was said, and its end; then the other way's, too."""
    data = noise(size)
    with rig(kind) as r:
        for turn in (way, way.other):
            source, sink = r.ends(turn)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(say_and_end(source, data))
                heard = tasks.create_task(read_to_end(sink))
            assert heard.result() == data
            if turn is way:
                assert not r.endings
                assert is_silent(source)
        await r.over()
        await turn_until(lambda: r.pt.is_closed)


@every_kind
@every_way
async def test_an_end_comes_after_all_that_a_slow_reader_has_to_read(
    kind: str, way: Way
) -> None:
    """RL-03, RL-10: nothing is given up while somebody still reads."""
    data = noise(400_000)
    slow = "peer" if way is Way.OUT else "host"
    with rig(kind, slow=slow) as r:
        source, sink = r.ends(way)
        await say_and_end(source, data)
        heard = bytearray()
        while piece := await read(sink, 3000):
            heard += piece
            await asyncio.sleep(0)
        assert heard == data
        await exchange_back(r, way)


async def exchange_back(r: Rig, way: Way) -> None:
    """See that the way that has not ended still does its work, and ends."""
    source, sink = r.ends(way.other)
    await say_and_end(source, ANSWER)
    assert await read_to_end(sink) == ANSWER
    await r.over()


@every_kind
async def test_both_may_end_at_once(kind: str) -> None:
    """RL-03: neither loses what is still under way."""
    data = noise(3_000_000)
    with rig(kind) as r:
        async with asyncio.TaskGroup() as tasks:
            for source in (r.host, r.peer):
                tasks.create_task(say_and_end(source, data))
            heard = [tasks.create_task(read_to_end(sink)) for sink in (r.host, r.peer)]
        assert [task.result() for task in heard] == [data, data]
        await r.over()


async def test_what_a_wire_brought_before_the_tunnel_began_is_not_lost() -> None:
    """Wire: nor its end, which waited for it."""
    with rig(KEEPS, join=False) as r:
        await say_and_end(r.peer, ANSWER)
        await turn_until(lambda: r.wire.inward.moved == len(ANSWER))
        await write(r.pt.wire, b"")
        r.join()
        assert await read_to_end(r.host) == ANSWER
        await exchange_back(r, Way.IN)


async def test_an_end_that_came_before_the_tunnel_began_is_passed_on() -> None:
    """Wire: the other side is through with all, and we have only begun."""
    with rig(join=False) as r:
        await write(r.pt.wire, QUESTION)
        assert await read(r.peer, len(QUESTION)) == QUESTION
        await say_and_end(r.peer, ANSWER)
        await turn_until(lambda: r.wire.net_has_ended)
        r.join()
        r.pt.run(CLOSES_ALL)
        assert await read_to_end(r.host) == ANSWER
        await exchange_back(r, Way.IN)


async def end_before_it_begins(r: Rig) -> None:
    """Have both sides speak, and the peer's end, before there is a tunnel."""
    for source, sink in ((r.pt.wire, r.peer), (r.peer, r.pt.wire)):
        await write(source, QUESTION)
        assert await read(sink, len(QUESTION)) == QUESTION
    r.peer.shutdown(socket.SHUT_WR)
    await turn_until(lambda: r.wire.net_has_ended)


async def test_a_tunnel_that_ends_as_soon_as_it_begins_says_so_afterwards() -> None:
    """Tunnels: it is counted when it has begun, and not before."""
    with rig(join=False, linger=0) as r:
        await end_before_it_begins(r)
        r.join()
        assert not r.endings
        await r.over()


async def test_a_tunnel_that_is_reset_before_it_looks_at_the_wire_is_over() -> None:
    """Tunnels: as when the PT dies at that moment."""
    with rig(join=False) as r:
        await end_before_it_begins(r)
        r.join()
        r.tunnel.reset()
        await r.over()


# -- who is gone -----------------------------------------------------------------------


@every_kind
async def test_what_a_host_said_before_it_closed_arrives_and_all_is_closed(
    kind: str,
) -> None:
    """RL-04: and nobody waits for an answer that none will read."""
    data = noise(3_000_000)
    with rig(kind) as r:
        async with asyncio.TaskGroup() as tasks:

            async def say_and_go() -> None:
                await write(r.host, data)
                r.host.close()

            tasks.create_task(say_and_go())
            heard = tasks.create_task(read_to_end(r.peer))
        assert heard.result() == data
        r.peer.close()
        await r.over()
        await turn_until(lambda: r.pt.is_closed)


@every_kind
async def test_a_host_that_closes_a_moment_after_its_half_close(kind: str) -> None:
    """RL-04: nothing tells of it, so it is looked at again."""
    with rig(kind) as r:
        await say_and_end(r.host, QUESTION)
        assert await read_to_end(r.peer) == QUESTION
        r.host.close()
        # The peer says nothing, and does not end: only the kernel knows.
        await turn_until(lambda: r.near.fileno() == -1)
        r.peer.close()
        await r.over()
        await turn_until(lambda: r.pt.is_closed)


async def test_a_host_that_waits_is_not_taken_for_one_that_is_gone() -> None:
    """RL-04: it is looked at ever more seldom."""
    clock = ClockedLoop(asyncio.get_running_loop())
    with rig(KEEPS, clock=clock) as r:
        await say_and_end(r.host, QUESTION)
        assert await meanwhile(clock, read_to_end(r.peer)) == QUESTION
        for turn in range(8):
            clock.pass_by(FIRST_LOOK_AT_HOST * 2**turn)
            await write(r.peer, ANSWER)
            assert await read(r.host, len(ANSWER)) == ANSWER
        r.peer.shutdown(socket.SHUT_WR)
        assert await meanwhile(clock, read_to_end(r.host)) == b""
        await r.over()


async def test_a_host_that_is_gone_while_the_peer_talks_resets_the_peer() -> None:
    """RL-10: it has everything, and learns that nobody listens."""
    with rig(KEEPS) as r:
        await write(r.host, QUESTION)
        r.host.close()
        assert await read_to_end(r.peer) == QUESTION
        await upload(r.peer)
        wait_for_hangup(r.peer)
        await r.over()


async def test_a_host_that_is_gone_is_noticed_by_a_write_where_nobody_tells() -> None:
    """RL-04: without sock_diag the answer meets a reset."""
    with rig(KEEPS, knows=False) as r:
        await write(r.host, QUESTION)
        r.host.close()
        assert await read(r.peer, len(QUESTION)) == QUESTION
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(upload(r.peer))
            assert await read_to_end(r.peer) == b""
            await r.over()
        wait_for_hangup(r.peer)


async def test_a_host_that_a_write_finds_gone_is_not_looked_at_again() -> None:
    """RL-04: the PT has still to bring what it was given."""
    clock = ClockedLoop(asyncio.get_running_loop())
    with rig(clock=clock) as r:
        await say_and_end(r.host, QUESTION)
        await turn_until(lambda: r.tunnel._look)
        r.host.close()
        await write(r.pt.plain, b"refused")
        await turn_until(lambda: state(r.near) == CLOSED)
        await write(r.pt.plain, b"and told so")
        await turn_until(lambda: r.tunnel._in.is_cut)
        clock.pass_by(FIRST_LOOK_AT_HOST)
        assert r.tunnel._look is None
        r.pt.run(KEEPS)
        assert await meanwhile(clock, read_to_end(r.peer)) == QUESTION
        r.peer.close()
        await pass_until(clock, lambda: r.endings)
        await r.over()


async def test_a_host_with_an_unread_answer_resets_when_it_closes() -> None:
    """RL-10: as TCP has it, and the peer is told the same."""
    with rig(KEEPS) as r:
        await write(r.peer, ANSWER)
        await turn_until(lambda: r.tunnel.moved == len(ANSWER))
        r.host.close()
        assert await is_reset(r.peer)
        await r.over()


@every_kind
async def test_a_peer_that_has_closed_gets_its_answer_no_more(kind: str) -> None:
    """RL-10: what it said reaches the host, which is let go in peace."""
    with rig(kind) as r:
        await write(r.peer, ANSWER)
        r.peer.close()
        assert await read_to_end(r.host) == ANSWER
        # A write that meets its reset, and one that is told of it.
        while not r.endings:
            with contextlib.suppress(OSError):
                await write(r.host, QUESTION)
            await asyncio.sleep(0)
        await r.over()


@every_kind
async def test_a_peer_is_gone_before_its_answer_has_come_through(kind: str) -> None:
    """RL-10: the host gets all of it; what it says itself goes nowhere."""
    with rig(slow="host") as r:
        data = noise(150_000)
        await write(r.peer, data)
        r.peer.close()
        await turn_until(lambda: r.tunnel._in.source_has_ended)
        await write(r.host, QUESTION)
        assert await read(r.pt.plain, len(QUESTION)) == QUESTION
        for word in (b"refused", b"and told so"):
            await write(r.pt.wire, word)
            await turn_until(lambda: is_silent(r.leg))
        await turn_until(lambda: r.tunnel._out.is_cut)
        r.pt.run(kind)
        assert await read_to_end(r.host) == data
        r.host.close()
        await r.over()
        await turn_until(lambda: r.pt.is_closed)


# -- resets ----------------------------------------------------------------------------


@every_way
async def test_a_reset_by_either_outer_side_reaches_the_other(way: Way) -> None:
    """SK-13, RL-10: a cut transfer must not look complete."""
    with rig(KEEPS) as r:
        await exchange(r)
        source, sink = r.ends(way)
        reset(source)
        assert await is_reset(sink)
        await r.over()
        await turn_until(lambda: r.pt.is_closed)


@every_way
async def test_a_reset_is_met_by_a_write_as_well(way: Way) -> None:
    """RL-10: bytes wait for the one who resets."""
    with rig(KEEPS) as r:
        source, sink = r.ends(way)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(upload(source))
            passage = r.tunnel._out if way is Way.OUT else r.tunnel._in
            await turn_until(lambda: passage.empty.is_blocked)
            reset(sink)
            await r.over()
        wait_for_hangup(source)


@every_way
async def test_a_reset_is_met_by_a_write_alone_where_the_pt_takes_nothing(
    way: Way,
) -> None:
    """RL-10: nothing is read from who resets, for there is no room for it."""
    with rig() as r:
        source, sink = r.ends(way)
        passage = r.tunnel._out if way is Way.OUT else r.tunnel._in
        async with asyncio.TaskGroup() as tasks:
            talks = tasks.create_task(upload(source))
            await turn_until(lambda: passage.feed.is_blocked)
            talks.cancel()
        reset(source)
        await write(r.pts(way.other)[1], ANSWER)
        await r.over()
        assert await is_reset(sink)


@every_way
async def test_a_reset_behind_an_end_reaches_the_other(way: Way) -> None:
    """SK-13: nobody reads from who has ended, but somebody writes to it."""
    with rig(KEEPS) as r:
        source, sink = r.ends(way)
        await say_and_end(source, QUESTION)
        assert await read_to_end(sink) == QUESTION
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(upload(sink))
            await read(source, 1000)
            reset(source)
            await r.over()
        wait_for_hangup(sink)


@every_way
@pytest.mark.parametrize("how", ["ends", "closes", "resets"])
async def test_a_pt_that_ends_a_leg_without_being_told_cuts_the_tunnel(
    way: Way, how: str
) -> None:
    """SK-13: whatever came before it may not be all."""
    with rig(keeps=True) as r:
        reads, writes = r.pts(way)
        source, sink = r.ends(way)
        await write(writes, ANSWER)
        assert await read(sink, len(ANSWER)) == ANSWER
        if how == "ends":
            half_close(writes)
        elif how == "closes":
            writes.close()
        else:
            reset(writes)
        assert await is_reset(sink)
        assert await is_reset(source)
        await r.over()
        assert r.manners.keeps is False  # at the next one, it is not trusted
        assert await is_reset(reads)


@every_way
async def test_a_pt_that_takes_nothing_more_cuts_the_tunnel(way: Way) -> None:
    """SK-13: which only a write tells where nobody takes its answer."""
    with rig() as r:
        reads, writes = r.pts(way)
        back = r.pts(way.other)[1]
        source, sink = r.ends(way)
        other = r.tunnel._in if way is Way.OUT else r.tunnel._out
        async with asyncio.TaskGroup() as tasks:
            talks = tasks.create_task(upload(back))
            await turn_until(lambda: other.empty.is_blocked)
            talks.cancel()
        assert reads is back
        reset(reads)
        await write(source, QUESTION)
        await r.over()
        wait_for_hangup(sink)
        wait_for_hangup(writes)


async def test_bytes_that_come_behind_an_end_are_a_failure() -> None:
    """SK-13: what we took for all was not; it must not look complete."""
    with rig() as r:
        await say_and_end(r.host, QUESTION)
        assert await read(r.pt.plain, len(QUESTION)) == QUESTION
        # It sleeps, and its queues are empty: who could know that it holds bytes?
        assert await read_to_end(r.peer) == b""
        await write(r.pt.wire, QUESTION)
        await r.over()
        wait_for_hangup(r.peer)
        assert await is_reset(r.host)


# -- the PT dies -----------------------------------------------------------------------


@every_way
async def test_a_pt_that_dies_cuts_what_is_under_way(way: Way) -> None:
    """RL-11: the kernel closes its connections as if it had meant it."""
    process = Process()
    with rig(process=process) as r:
        _, writes = r.pts(way)
        source, sink = r.ends(way)
        await write(writes, ANSWER)
        assert await read(sink, len(ANSWER)) == ANSWER
        process.is_ending = True
        writes.close()
        assert await is_reset(sink)
        assert await is_reset(source)
        await r.over()
        assert r.manners.keeps is None


@every_way
async def test_a_pt_that_dies_with_bytes_unread_cuts_what_is_under_way(
    way: Way,
) -> None:
    """RL-11: then they are reset, and that is no failure of the PT's."""
    process = Process()
    with rig(process=process) as r:
        reads, _ = r.pts(way)
        source, sink = r.ends(way)
        await write(source, ANSWER)
        await turn_until(lambda: not is_silent(reads))
        process.is_ending = True
        reads.close()
        assert await is_reset(sink)
        await r.over()
        assert r.manners.keeps is None


@every_way
async def test_a_pt_that_dies_takes_nothing_back_that_was_complete(way: Way) -> None:
    """RL-11: whoever has got its end only has to read; the other one is reset."""
    slow = "peer" if way is Way.OUT else "host"
    process = Process()
    data = noise(15_000)
    with rig(PASSES_ON, process=process, slow=slow) as r:
        source, sink = r.ends(way)
        await say_and_end(source, data)
        leg = r.net if way is Way.OUT else r.near
        await turn_until(lambda: state(leg) in (FIN_WAIT1, FIN_WAIT2))
        process.is_ending = True
        r.pt.close()
        assert await is_reset(source)
        assert not r.endings
        assert await read_to_end(sink) == data
        sink.close()
        await r.over()


async def test_a_death_that_is_told_cuts_what_is_under_way() -> None:
    """RL-11: from outside, whatever the legs tell."""
    with rig(KEEPS) as r:
        await exchange(r)
        r.tunnel.pt_died()
        assert await is_reset(r.host)
        assert await is_reset(r.peer)
        await r.over()


async def test_a_death_spares_a_peer_that_is_gone_no_reset() -> None:
    """RL-11: it was lost before, and there is nothing to deliver."""
    with rig(KEEPS, knows=False) as r:
        await say_and_end(r.peer, QUESTION)
        r.peer.close()
        while not r.tunnel._out.is_cut:
            with contextlib.suppress(OSError):
                await write(r.host, QUESTION)
            await asyncio.sleep(0)
        r.tunnel.pt_died()
        await r.over()
        assert await is_reset(r.host)


async def test_a_death_after_the_end_of_both_ways_changes_nothing() -> None:
    """RL-11: who still reads may go on."""
    with rig(KEEPS, slow="peer") as r:
        data = noise(15_000)
        await write(r.host, data)
        r.host.close()
        await turn_until(lambda: r.tunnel._is_leaving)
        r.tunnel.pt_died()
        assert not r.endings
        assert await read_to_end(r.peer) == data
        r.peer.close()
        await r.over()


async def test_a_tunnel_can_be_reset_whatever_it_does() -> None:
    """Design 2: as when we are told to stop."""
    with rig(KEEPS) as r:
        await exchange(r)
        r.tunnel.reset()
        assert await is_reset(r.host)
        assert await is_reset(r.peer)
        await r.over()


async def test_a_tunnel_can_be_reset_while_it_waits_for_a_last_reader() -> None:
    """Design 2: likewise."""
    with rig(KEEPS) as r:
        await write(r.host, QUESTION)
        r.host.close()
        assert await read_to_end(r.peer) == QUESTION
        await turn_until(lambda: r.tunnel._is_leaving)
        r.tunnel.reset()
        wait_for_hangup(r.peer)
        await r.over()


# -- what a PT is told -----------------------------------------------------------------


async def test_a_pt_is_told_of_no_end_while_it_may_lose_something_by_it() -> None:
    """Closing: one that closes at the first has an answer to bring yet."""
    with rig() as r:
        await say_and_end(r.host, QUESTION)
        assert await read(r.pt.plain, len(QUESTION)) == QUESTION
        await write(r.pt.wire, QUESTION)
        assert await read_to_end(r.peer) == QUESTION
        await write(r.peer, ANSWER)
        assert await read(r.pt.wire, len(ANSWER)) == ANSWER
        await write(r.pt.plain, ANSWER)
        assert await read(r.host, len(ANSWER)) == ANSWER
        assert is_silent(r.pt.plain)
        r.peer.shutdown(socket.SHUT_WR)
        assert await read_to_end(r.pt.wire) == b""  # now there is nothing to lose
        assert await read_to_end(r.host) == b""
        await r.over()


async def test_a_pt_that_is_known_to_keep_the_other_way_is_told_at_once() -> None:
    """Closing: and proves by that that all is through."""
    process = Process()
    process.is_asleep = False
    with rig(process=process, keeps=True) as r:
        await say_and_end(r.host, QUESTION)
        assert await read_to_end(r.pt.plain) == QUESTION
        await write(r.pt.wire, QUESTION)
        assert await read_to_end(r.peer) == QUESTION
        await write(r.peer, ANSWER)
        assert await read(r.pt.wire, len(ANSWER)) == ANSWER
        await write(r.pt.plain, ANSWER)
        assert await read(r.host, len(ANSWER)) == ANSWER
        assert r.manners.keeps is True


async def test_a_pt_that_is_told_and_ends_what_it_was_to_keep_is_not_trusted() -> None:
    """Closing: this tunnel is cut, and no other will be."""
    with rig(CLOSES_ALL, keeps=True) as r:
        await say_and_end(r.host, QUESTION)
        await r.over()
        assert await is_reset(r.host)
        assert r.manners.keeps is False


async def lose_the_host(r: Rig) -> None:
    """Be a host that is gone while the PT has its bytes still to read."""
    await write(r.host, QUESTION)
    r.host.close()
    await turn_until(lambda: r.tunnel._in.is_cut)


@pytest.mark.parametrize(
    ("kind", "keeps"), [(CLOSES_ALL, False), (PASSES_ON, False), (KEEPS, True)]
)
async def test_a_tunnel_whose_host_is_gone_shows_what_a_pt_makes_of_an_end(
    kind: str, *, keeps: bool
) -> None:
    """Closing: nothing can be lost by it there."""
    with rig() as r:
        await lose_the_host(r)
        r.pt.run(kind)
        assert await read_to_end(r.peer) == QUESTION
        r.peer.close()
        await r.over()
        assert r.manners.keeps is keeps


async def test_a_pt_is_given_time_to_show_what_it_makes_of_an_end() -> None:
    """Closing: it reads it, and is slow to close the other connection."""
    clock = ClockedLoop(asyncio.get_running_loop())
    with rig(clock=clock) as r:
        await lose_the_host(r)
        await write(r.pt.wire, await read(r.pt.plain, len(QUESTION)))
        assert await meanwhile(clock, read_to_end(r.pt.plain)) == b""
        assert await meanwhile(clock, read_to_end(r.peer)) == QUESTION
        r.peer.close()
        await turn_until(lambda: not r.tunnel._farewells)
        clock.pass_by(MANNERS_PATIENCE - 2 * MOMENT)
        r.pt.close()
        assert not r.endings
        clock.pass_by(2 * MOMENT)
        await r.over()
        assert r.manners.keeps is False


async def test_a_pt_that_works_on_something_may_only_be_slow() -> None:
    """Closing: on a busy machine it may be about to close what it still keeps."""
    process = Process()
    process.is_asleep = False
    with rig(process=process) as r:
        await lose_the_host(r)
        r.pt.run(KEEPS)
        assert await read_to_end(r.peer) == QUESTION
        r.peer.close()
        await r.over()
        assert r.manners.keeps is None


async def test_a_pt_that_is_gone_when_it_is_asked_shows_nothing() -> None:
    """Closing: a reset, or its death, say nothing of its manners."""
    clock = ClockedLoop(asyncio.get_running_loop())
    with rig(clock=clock) as r:
        await lose_the_host(r)
        await write(r.pt.wire, await read(r.pt.plain, len(QUESTION)))
        assert await meanwhile(clock, read_to_end(r.pt.plain)) == b""
        assert await meanwhile(clock, read_to_end(r.peer)) == QUESTION
        reset(r.pt.wire)
        r.peer.close()
        await pass_until(clock, lambda: r.endings)
        assert r.manners.keeps is None


async def test_a_tunnel_can_end_while_its_pt_is_looked_at() -> None:
    """Design 2: as when the PT dies, or we are told to stop."""
    for end in (HeldTunnel.reset, HeldTunnel.pt_died):
        clock = ClockedLoop(asyncio.get_running_loop())
        with rig(clock=clock) as r:
            await lose_the_host(r)
            await write(r.pt.wire, await read(r.pt.plain, len(QUESTION)))
            assert await meanwhile(clock, read_to_end(r.pt.plain)) == b""
            assert await meanwhile(clock, read_to_end(r.peer)) == QUESTION
            r.peer.close()
            await turn_until(lambda r=r: not r.tunnel._farewells)  # type: ignore[misc]
            assert not r.endings
            end(r.tunnel)
            clock.pass_by(MANNERS_PATIENCE)
            await r.over()
            assert r.manners.keeps is None


async def test_bytes_that_a_pt_holds_are_waited_for() -> None:
    """RL-03: the queues are empty, but it works on something."""
    process = Process()
    process.is_asleep = False
    clock = ClockedLoop(asyncio.get_running_loop())
    with rig(process=process, clock=clock, linger=None) as r:
        await say_and_end(r.host, QUESTION)
        held = await read(r.pt.plain, len(QUESTION))
        await pass_for(clock, 1)
        assert is_silent(r.peer)
        await write(r.pt.wire, held)
        assert await read(r.peer, len(QUESTION)) == QUESTION
        process.is_asleep = True
        assert await meanwhile(clock, read_to_end(r.peer)) == b""


@every_kind
@every_way
async def test_where_the_kernel_tells_nothing_an_end_takes_a_while(
    kind: str, way: Way
) -> None:
    """Closing: a sandbox, or another system."""
    clock = ClockedLoop(asyncio.get_running_loop())
    with rig(kind, clock=clock, knows=False) as r:
        for turn in (way, way.other):
            source, sink = r.ends(turn)
            await say_and_end(source, ANSWER)
            assert await meanwhile(clock, read_to_end(sink)) == ANSWER
            if turn is way:
                assert clock.now > BLIND_SETTLE
        await r.over()
        await turn_until(lambda: r.pt.is_closed)


# -- time limits -----------------------------------------------------------------------


async def time_to_end(r: Rig, clock: ClockedLoop) -> float:
    """Let time pass until the tunnel has ended; give how much it was, in seconds.

    The kernel's own time does not pass faster: what it acknowledges late comes before.
    """
    if not (r.tunnel._in.is_cut or r.tunnel._out.is_cut):
        await turn_until(lambda: not (unsent(r.near) or unsent(r.net)))
    begin = clock.now
    await pass_until(clock, lambda: r.endings, step=0.05)
    return clock.now - begin


async def test_a_half_closed_tunnel_that_is_silent_for_too_long_is_reset() -> None:
    """RL-04: nobody says anything any more."""
    clock = ClockedLoop(asyncio.get_running_loop())
    with rig(KEEPS, clock=clock, linger=5) as r:
        await say_and_end(r.host, QUESTION)
        assert await meanwhile(clock, read_to_end(r.peer)) == QUESTION
        for _ in range(5):
            await pass_for(clock, 4)
            await write(r.peer, QUESTION)
            assert await read(r.host, len(QUESTION)) == QUESTION
        assert 5 < await time_to_end(r, clock) < 11
        assert await is_reset(r.host)
        await r.over()


@pytest.mark.parametrize(
    ("way", "knows", "limit"),
    [
        (Way.OUT, True, LINGER),
        (Way.OUT, False, BLIND_LINGER),
        (Way.IN, True, LINGER),
        (Way.IN, False, LINGER),
    ],
)
async def test_the_usual_linger_depends_on_whether_the_host_is_known_to_be_there(
    way: Way, *, knows: bool, limit: float
) -> None:
    """Design 3: who has not ended is there; of who has, the kernel tells."""
    clock = ClockedLoop(asyncio.get_running_loop())
    with rig(KEEPS, clock=clock, linger=None, knows=knows) as r:
        source, sink = r.ends(way)
        await say_and_end(source, QUESTION)
        assert await meanwhile(clock, read_to_end(sink)) == QUESTION
        assert limit - 2 < await time_to_end(r, clock) < 2 * limit + 1
        await r.over()


@every_way
async def test_a_slow_reader_is_not_silent(way: Way) -> None:
    """RL-10: it takes its time, and nothing is given up."""
    clock = ClockedLoop(asyncio.get_running_loop())
    slow = "host" if way is Way.IN else "peer"
    data = noise(150_000)
    with rig(KEEPS, clock=clock, linger=5, slow=slow) as r:
        source, sink = r.ends(way)
        await say_and_end(source, data)
        passage = r.tunnel._out if way is Way.OUT else r.tunnel._in
        await turn_until(lambda: passage.source_has_ended)
        heard = b""
        while len(heard) < len(data):
            await pass_for(clock, 6)
            heard += await read(sink, 50_000)
        assert heard == data
        assert not r.endings


async def test_an_idle_tunnel_is_reset_only_where_that_was_asked_for() -> None:
    """RL-05: counted from the last byte."""
    clock = ClockedLoop(asyncio.get_running_loop())
    with rig(KEEPS, clock=clock, idle=10) as r, rig(KEEPS, clock=clock) as other:
        clock.pass_by(6)
        await exchange(r)
        clock.pass_by(6)
        assert not r.endings
        clock.pass_by(4)
        await r.over()
        assert await is_reset(r.host)
        assert await is_reset(r.peer)
        clock.pass_by(FOR_EVER)
        await exchange(other)


async def test_a_half_closed_tunnel_is_not_idle_while_it_lingers() -> None:
    """RL-04, RL-05: it has a limit of its own."""
    clock = ClockedLoop(asyncio.get_running_loop())
    with rig(KEEPS, clock=clock, idle=10) as r:
        await say_and_end(r.host, QUESTION)
        assert await meanwhile(clock, read_to_end(r.peer)) == QUESTION
        clock.pass_by(11)
        clock.pass_by(11)
        await write(r.peer, ANSWER)
        assert await read(r.host, len(ANSWER)) == ANSWER


async def test_a_pt_that_does_nothing_for_a_host_that_is_gone_is_left() -> None:
    """SE-10: it takes nothing, and nobody waits for it."""
    clock = ClockedLoop(asyncio.get_running_loop())
    with rig(clock=clock) as r:
        await lose_the_host(r)
        assert LOST_LIMIT - 1 < await time_to_end(r, clock) < 2 * LOST_LIMIT + 1
        await r.over()
        assert await is_reset(r.peer)


async def test_a_host_that_reads_nothing_of_a_peer_that_is_gone_is_left() -> None:
    """SE-10: likewise on the other side."""
    clock = ClockedLoop(asyncio.get_running_loop())
    with rig(KEEPS, clock=clock, slow="host") as r:
        await write(r.peer, noise(150_000))
        r.peer.close()
        await turn_until(lambda: r.tunnel._in.source_has_ended)
        while not r.tunnel._out.is_cut:
            with contextlib.suppress(OSError):
                await write(r.host, QUESTION)
            await asyncio.sleep(0)
        assert LOST_LIMIT - 1 < await time_to_end(r, clock) < 2 * LOST_LIMIT + 1
        await r.over()
        wait_for_hangup(r.host)


async def test_a_peer_that_does_not_end_behind_a_host_that_is_gone_is_left() -> None:
    """RL-02: it has everything, and says nothing."""
    clock = ClockedLoop(asyncio.get_running_loop())
    with rig(KEEPS, clock=clock) as r:
        await write(r.host, QUESTION)
        r.host.close()
        assert await meanwhile(clock, read_to_end(r.peer)) == QUESTION
        await pass_until(clock, lambda: r.leg.fileno() == -1)
        assert FAREWELL_LIMIT - 1 < await time_to_end(r, clock) < 2 * FAREWELL_LIMIT + 1
        await r.over()
        wait_for_hangup(r.peer)


async def test_an_idle_tunnel_has_neither_task_nor_timer() -> None:
    """Design 7: it holds its sockets, and nothing else; there may be thousands."""
    clock = ClockedLoop(asyncio.get_running_loop())
    others = asyncio.all_tasks()
    with rig(KEEPS, clock=clock) as r:
        await exchange(r)
        assert all(each.is_cancelled for each in clock.appointments)
        assert asyncio.all_tasks() == others
        assert r.tunnel._ways is None


async def test_a_stalled_tunnel_does_not_slow_another() -> None:
    """RL-01, RL-10: a slow reader slows its own tunnel only."""
    data = noise(10_000_000)
    with rig(KEEPS) as stalled, rig(KEEPS) as other:
        async with asyncio.TaskGroup() as tasks:
            uploads = tasks.create_task(upload(stalled.peer))
            await turn_until(lambda: stalled.tunnel._in.empty.is_blocked)
            tasks.create_task(write(other.peer, data))
            heard = await read(other.host, len(data))
            uploads.cancel()
        assert heard == data
        assert not stalled.endings
