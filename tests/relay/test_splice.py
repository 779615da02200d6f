"""Splicing: how pipes are used, and what happens where the system refuses.

That a spliced byte arrives like a copied one is shown in test_pump and test_tunnel,
whose tests all run over both.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import socket
from typing import TYPE_CHECKING

import pytest

from pt_bridge.net.sockets import NO_LINGER
from pt_bridge.relay.coalescing import LOOK
from pt_bridge.relay.pipes import (
    MANY_MESSAGES,
    MOST_COPIED,
    PIPE_SIZE,
    STALLED,
    Pipe,
    PipePool,
)
from pt_bridge.relay.pump import CHUNK, End
from pt_bridge.relay.splice import REFUSED, empty_into, fill_from, pump_maker
from tests.support.clock import Clock, ClockedLoop
from tests.support.tcp import (
    closing,
    noise,
    pair,
    read,
    read_to_end,
    readable,
    turn_until,
    wait_for_hangup,
    write,
)

if TYPE_CHECKING:
    from pt_bridge.relay.pump import CopyPump
    from tests.support.tcp import Pair


def appends(descriptor: int) -> None:
    """Make splice(2) refuse to write there (EINVAL); other writes do not care."""
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_APPEND)


class UselessPool(PipePool):
    """A pool whose pipes splice(2) refuses to fill: one end of each is no pipe's."""

    def borrow(self) -> Pipe | None:
        pipe = super().borrow()
        if pipe is not None:
            make_useless(pipe)
        return pipe


def make_useless(pipe: Pipe) -> None:
    with open(os.devnull, "wb") as null:
        os.dup2(null.fileno(), pipe.write, inheritable=False)


def pump_between(
    pool: PipePool, near: Pair, far: Pair
) -> tuple[CopyPump, asyncio.Future[End]]:
    loop = asyncio.get_running_loop()
    end: asyncio.Future[End] = loop.create_future()
    pump = pump_maker(pool)(loop, near[1], far[1], end.set_result)
    pump.start()
    return pump, end


async def test_a_pipe_is_held_only_while_bytes_are_in_flight() -> None:
    """An idle tunnel holds its sockets and nothing else."""
    near, far = pair(), pair()
    with closing(near, far), PipePool(most=1) as pool:
        pump, end = pump_between(pool, near, far)
        data = noise(50_000_000)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(write(near[0], data))
            await turn_until(lambda: pool.lent)
            assert pump.is_blocked
            heard = tasks.create_task(read(far[0], len(data)))
        assert heard.result() == data
        assert pool.lent == 0
        near[0].close()
        assert await end is End.EOF


async def test_a_pipe_that_still_holds_bytes_is_closed() -> None:
    """The next tunnel must not get this one's bytes."""
    near, far = pair(), pair()
    with closing(near, far), PipePool() as pool:
        pump, _ = pump_between(pool, near, far)
        near[0].setblocking(False)
        data = noise(CHUNK)
        while not pool.lent:
            try:
                near[0].send(data)
            except BlockingIOError:
                pass
            await asyncio.sleep(0)  # lets the pump take its turn
        pump.stop()
        assert pool.lent == 0
        fresh = pool.borrow()
        assert fresh is not None
        with pytest.raises(BlockingIOError):
            os.read(fresh.read, 1)
        pool.discard(fresh)


class CountingPool(PipePool):
    """A pool that knows how often a pipe was asked for, and told of messages."""

    asked = noted = 0

    def borrow(self) -> Pipe | None:
        self.asked += 1
        return super().borrow()

    def note_messages(self) -> None:
        self.noted += 1


async def test_a_message_is_copied_and_bulk_takes_a_pipe() -> None:
    """Each costs less that way; what is bulk is seen by what comes at once."""
    near, far = pair(), pair()
    pool = CountingPool()
    with closing(near, far), pool:
        _, end = pump_between(pool, near, far)

        async def carry(data: bytes) -> None:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(write(near[0], data))
                heard = tasks.create_task(read(far[0], len(data)))
            assert heard.result() == data

        for _ in range(MANY_MESSAGES - 1):
            await carry(b"message")
        assert (pool.asked, pool.noted) == (0, 0)
        await carry(noise(5_000_000))
        assert pool.asked
        await carry(b"the first behind it may take one, too")
        asked = pool.asked
        for _ in range(2 * MANY_MESSAGES):
            await carry(b"message")
        assert pool.asked == asked
        assert pool.noted > 0
        near[0].close()
        assert await end is End.EOF


@pytest.mark.parametrize("where", ["from the source", "to the sink"])
async def test_where_splicing_is_refused_bytes_are_copied(where: str) -> None:
    """EINVAL at run time; nothing is lost, nor asked for again."""
    near, far = pair(), pair()
    pool = UselessPool() if where == "from the source" else PipePool()
    with closing(near, far), pool:
        if where == "to the sink":
            appends(far[1].fileno())
        _, end = pump_between(pool, near, far)
        data = noise(5_000_000)

        async def speak() -> None:
            await write(near[0], data)
            near[0].shutdown(socket.SHUT_WR)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(speak())
            heard = tasks.create_task(read_to_end(far[0]))
            assert await end is End.EOF
            far[1].shutdown(socket.SHUT_WR)
        assert heard.result() == data
        assert pool.lent == 0


async def test_many_slow_readers_share_the_pipes_that_there_are() -> None:
    """SE-10: who gets none copies, and goes on."""
    pairs = [(pair(), pair()) for _ in range(6)]
    flat = [each for both in pairs for each in both]
    data = noise(20_000_000)
    with closing(*flat), PipePool(most=2) as pool:
        pumps = [pump_between(pool, near, far)[0] for near, far in pairs]
        async with asyncio.TaskGroup() as tasks:
            for near, _ in pairs:
                tasks.create_task(write(near[0], data))
            await turn_until(lambda: all(pump.is_blocked for pump in pumps))
            assert pool.lent == 2
            heard = [tasks.create_task(read(far[0], len(data))) for _, far in pairs]
        assert all(task.result() == data for task in heard)
        assert pool.lent == 0
        for pump in pumps:
            pump.stop()


async def test_who_stalls_gives_its_pipe_to_one_who_can_use_it() -> None:
    """SE-10: some readers that stall do not take splice from everybody."""
    pairs = [(pair(), pair()) for _ in range(4)]
    flat = [each for both in pairs for each in both]
    data = noise(20_000_000)
    clock = Clock()
    with closing(*flat), PipePool(most=2, clock=clock.time) as pool:
        pumps = [pump_between(pool, near, far)[0] for near, far in pairs[:2]]
        async with asyncio.TaskGroup() as tasks:
            for near, _ in pairs[:2]:
                tasks.create_task(write(near[0], data))
            await turn_until(lambda: pool.lent == 2)
            assert pool.borrow() is None  # they flow still, for all we know
            clock.pass_by(STALLED)
            first = pool.borrow()
            assert first is not None
            second = pool.borrow()
            assert second is not None
            assert all(pump.is_blocked for pump in pumps)
            assert pool.borrow() is None
            pool.give_back(first)
            pool.give_back(second)
            heard = [tasks.create_task(read(far[0], len(data))) for _, far in pairs[:2]]
        assert [task.result() == data for task in heard] == [True, True]
        assert (pool.lent, pool.fill) == (0, PIPE_SIZE)
        for pump in pumps:
            pump.stop()


async def test_what_stalled_tunnels_keep_in_memory_is_bounded() -> None:
    """SE-10: first less goes into a pipe, then nobody gives his up; and it passes."""
    near, far = pair(), pair()
    clock = Clock()
    with closing(near, far), PipePool(most=1, clock=clock.time) as pool:
        pump, _ = pump_between(pool, near, far)
        async with asyncio.TaskGroup() as tasks:
            speaking = tasks.create_task(write(near[0], noise(20_000_000)))
            await turn_until(lambda: pool.lent == 1)
            clock.pass_by(STALLED)
            pool.forget(-MOST_COPIED // 2)  # others have as much
            assert pool.fill == CHUNK
            pool.forget(-MOST_COPIED // 2)
            assert pool.borrow() is None
            pool.forget(MOST_COPIED)
            pipe = pool.borrow()
            assert pipe is not None
            pool.give_back(pipe)
            pump.stop()
            speaking.cancel()
        assert (pool.lent, pool.fill) == (0, PIPE_SIZE)


# -- filling and emptying a pipe -------------------------------------------------------


async def test_a_pipe_takes_so_many_bytes_and_gives_what_the_sink_takes() -> None:
    """A frame's end is where the next one begins."""
    near, far = pair(), pair()
    with closing(near, far), PipePool() as pool:
        pipe = pool.borrow()
        assert pipe is not None
        with pytest.raises(BlockingIOError):
            fill_from(pipe, near[1], PIPE_SIZE)
        await write(near[0], b"12345678")
        assert fill_from(pipe, near[1], 5) == 5
        assert near[1].recv(9, socket.MSG_PEEK) == b"678"
        assert empty_into(pipe, far[1], 5) == 5
        assert await read(far[0], 5) == b"12345"
        near[0].close()
        assert fill_from(pipe, near[1], PIPE_SIZE) == 3
        assert fill_from(pipe, near[1], PIPE_SIZE) == 0
        pool.discard(pipe)


async def test_a_full_sink_leaves_bytes_in_the_pipe_and_a_dead_one_says_so() -> None:
    near, far = pair(), pair(send_buffer=8192, receive_buffer=8192)
    far = (far[1], far[0])
    with closing(near, far), PipePool() as pool:
        pipe = pool.borrow()
        assert pipe is not None
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(write(near[0], noise(PIPE_SIZE)))
            held = 0
            while held < PIPE_SIZE // 2:
                await readable(near[1])
                held += fill_from(pipe, near[1], PIPE_SIZE - held)
            sent = empty_into(pipe, far[1], held)
            assert 0 < sent < held
            near[1].close()
            with contextlib.suppress(ConnectionError):
                await loop.sock_sendall(near[0], b"x")
        far[0].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        far[0].close()
        wait_for_hangup(far[1])
        with pytest.raises(ConnectionResetError):
            empty_into(pipe, far[1], held - sent)
        pool.discard(pipe)


async def test_a_pool_whose_pipes_are_refused_lends_none_from_then_on() -> None:
    """Whoever copies from then on has asked the system once, not for every read."""
    near = pair()
    with closing(near), PipePool() as pool:
        pipe = pool.borrow()
        assert pipe is not None
        make_useless(pipe)
        await write(near[0], b"some")
        with pytest.raises(OSError, match="Invalid") as refusal:
            fill_from(pipe, near[1], 4)
        assert refusal.value.errno in REFUSED
        pool.refuse(pipe)
        assert (pool.lent, pool.borrow()) == (0, None)


# -- coalescing ------------------------------------------------------------------------

PIECE = 8_000
BURST = 10  # pieces: half of them is worth waiting for


class Stream:
    """A pump that is fed by pieces, and goes by a test's clock."""

    def __init__(self, pool: PipePool, near: Pair, far: Pair) -> None:
        self.clock = ClockedLoop(asyncio.get_running_loop())
        self.speaker, self.source = near
        self.hearer = far[0]
        self.end: asyncio.Future[End] = self.clock.create_future()
        loop = self.clock.as_loop
        ended = self.end.set_result
        self.pump = pump_maker(pool)(loop, self.source, far[1], ended)
        self.pump.start()

    async def carry(self, number: int) -> None:
        """Send so many pieces, each once the one before has arrived."""
        for _ in range(number):
            data = noise(PIECE)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(write(self.speaker, data))
                heard = tasks.create_task(read(self.hearer, PIECE))
            assert heard.result() == data

    async def become_fast(self) -> None:
        """Send a burst, and then see that the kernel waits for more."""
        self.clock.pass_by(1.0)
        await self.carry(BURST)
        self.clock.pass_by(LOOK + 1e-9)
        await write(self.speaker, b"1")  # one byte: all of it is read at once
        assert await read(self.hearer, 1) == b"1"
        assert self.low_water > 1

    @property
    def low_water(self) -> int:
        """How many bytes the kernel waits for before it wakes the pump."""
        return self.source.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT)


async def test_a_fast_stream_of_small_pieces_wakes_us_less_often() -> None:
    """Our CPU for each byte; what is left of a burst is late, not lost."""
    near, far = pair(), pair()
    with closing(near, far), PipePool() as pool:
        stream = Stream(pool, near, far)
        await stream.become_fast()
        before = stream.pump.moved
        await write(stream.speaker, b"the last")
        await turn_until(lambda: stream.source.recv(9, socket.MSG_PEEK) == b"the last")
        assert stream.pump.moved == before
        stream.clock.pass_by(LOOK)
        assert stream.low_water == 1
        assert await read(stream.hearer, 8) == b"the last"
        stream.pump.stop()


async def test_a_stream_that_stays_fast_stays_coalesced_until_it_is_stopped() -> None:
    """The socket is left as it was found: something else may read it to its end."""
    near, far = pair(), pair()
    with closing(near, far), PipePool() as pool:
        stream = Stream(pool, near, far)
        await stream.become_fast()
        enough = stream.pump.moved + BURST * PIECE
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(write(stream.speaker, noise(2 * BURST * PIECE)))
            await turn_until(lambda: stream.pump.moved >= enough)
            stream.clock.pass_by(LOOK)
            assert stream.low_water > 1
            stream.pump.stop()
            stream.hearer.close()
        assert stream.low_water == 1


async def test_the_end_of_a_fast_stream_is_told_at_once() -> None:
    """RL-02: an EOF wakes us, however little comes before it."""
    near, far = pair(), pair()
    with closing(near, far), PipePool() as pool:
        stream = Stream(pool, near, far)
        await stream.become_fast()
        await write(stream.speaker, b"the last")
        stream.speaker.shutdown(socket.SHUT_WR)
        assert await stream.end is End.EOF
        assert await read(stream.hearer, 8) == b"the last"
        assert stream.low_water == 1


async def test_a_slow_stream_is_passed_on_piece_by_piece() -> None:
    """Nobody waits for what may not come."""
    near, far = pair(), pair()
    with closing(near, far), PipePool() as pool:
        stream = Stream(pool, near, far)
        for _ in range(10):
            stream.clock.pass_by(2 * LOOK)
            await stream.carry(1)
        assert stream.low_water == 1
        stream.pump.stop()
