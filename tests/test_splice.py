"""Splicing: the pool of pipes, and what happens where the system refuses.

That a spliced byte arrives like a copied one is shown in test_pump and test_tunnel,
whose tests all run over both.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
from typing import TYPE_CHECKING, cast

import pytest

from pt_bridge.pump import CHUNK, End
from pt_bridge.splice import (
    COALESCED,
    COALESCED_WITHIN,
    KEPT_PIPES,
    PIPE_SIZE,
    Pipe,
    PipePool,
    pump_maker,
)
from tests.clock import ClockedLoop
from tests.tcp import closing, noise, pair, read, read_to_end, turn_until, write

if TYPE_CHECKING:
    from pt_bridge.pump import CopyPump
    from tests.tcp import Pair


def appends(descriptor: int) -> None:
    """Make splice(2) refuse to write there (EINVAL); other writes do not care."""
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_APPEND)


class AppendingPool(PipePool):
    """A pool whose pipes splice(2) refuses to fill."""

    def borrow(self) -> Pipe | None:
        pipe = super().borrow()
        assert pipe is not None
        appends(pipe.write)
        return pipe


def pump_between(
    pool: PipePool, near: Pair, far: Pair
) -> tuple[CopyPump, asyncio.Future[End]]:
    loop = asyncio.get_running_loop()
    end: asyncio.Future[End] = loop.create_future()
    pump = pump_maker(pool)(loop, near[1], far[1], end.set_result)
    pump.start()
    return pump, end


# -- the pool --------------------------------------------------------------------------


def test_a_pipe_that_is_given_back_is_lent_again() -> None:
    """Design 3: a pool, so that moving bytes opens no descriptor."""
    with PipePool() as pool:
        first = pool.borrow()
        assert first is not None
        assert pool.lent == 1
        pool.give_back(first)
        assert pool.lent == 0
        assert pool.borrow() == first
        pool.discard(first)
        assert pool.lent == 0


def test_a_pool_lends_so_many_pipes_and_keeps_a_few() -> None:
    """SE-10: bounded, whatever peers do."""
    most = KEPT_PIPES + 2
    with PipePool(most=most) as pool:
        lent = [pool.borrow() for _ in range(most)]
        assert None not in lent
        assert pool.borrow() is None
        for pipe in lent:
            assert pipe is not None
            pool.give_back(pipe)
        kept = [pipe for pipe in lent if pipe is not None and is_open(pipe.read)]
        assert len(kept) == KEPT_PIPES
    assert not any(is_open(pipe.read) or is_open(pipe.write) for pipe in kept)


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def test_a_pipe_is_non_blocking_and_as_large_as_the_system_grants() -> None:
    """A smaller one does as well, only slower."""
    with PipePool(size=PIPE_SIZE) as large, PipePool(size=2**31 - 1) as too_large:
        for pool, sizes in ((large, {PIPE_SIZE, 64 * 1024}), (too_large, {64 * 1024})):
            pipe = pool.borrow()
            assert pipe is not None
            assert fcntl.fcntl(pipe.write, fcntl.F_GETPIPE_SZ) in sizes
            assert not os.get_blocking(pipe.read)
            assert not os.get_blocking(pipe.write)
            pool.give_back(pipe)


# -- the pump --------------------------------------------------------------------------


async def test_a_pipe_is_held_only_while_bytes_are_in_flight() -> None:
    """Design 3: an idle tunnel holds its sockets and nothing else."""
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
    """Design 3: the next tunnel must not get this one's bytes."""
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


@pytest.mark.parametrize("where", ["from the source", "to the sink"])
async def test_where_splicing_is_refused_bytes_are_copied(where: str) -> None:
    """Design 3: EINVAL at run time; nothing is lost, nor asked for again."""
    near, far = pair(), pair()
    pool = AppendingPool() if where == "from the source" else PipePool()
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


# -- coalescing ------------------------------------------------------------------------

PIECE = COALESCED // 4


class Stream:
    """A pump that is fed by pieces, and goes by a test's clock."""

    def __init__(self, pool: PipePool, near: Pair, far: Pair) -> None:
        self.clock = ClockedLoop(asyncio.get_running_loop())
        self.speaker, self.source = near
        self.hearer = far[0]
        self.end: asyncio.Future[End] = self.clock.create_future()
        loop = cast("asyncio.AbstractEventLoop", self.clock)
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

    @property
    def low_water(self) -> int:
        """How many bytes the kernel waits for before it wakes the pump."""
        return self.source.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT)


async def test_a_fast_stream_of_small_pieces_wakes_us_less_often() -> None:
    """Design 7: our CPU for each byte; what is left of a burst is late, not lost."""
    near, far = pair(), pair()
    with closing(near, far), PipePool() as pool:
        stream = Stream(pool, near, far)
        stream.clock.pass_by(1.0)
        await stream.carry(5)
        assert stream.low_water == COALESCED
        before = stream.pump.moved
        await write(stream.speaker, b"the last")
        await turn_until(lambda: stream.source.recv(9, socket.MSG_PEEK) == b"the last")
        assert stream.pump.moved == before
        stream.clock.pass_by(COALESCED_WITHIN)
        assert stream.low_water == 1
        assert await read(stream.hearer, 8) == b"the last"
        stream.pump.stop()


async def test_a_stream_that_stays_fast_stays_coalesced_until_it_is_stopped() -> None:
    """The socket is left as it was found: something else may read it to its end."""
    near, far = pair(), pair()
    with closing(near, far), PipePool() as pool:
        stream = Stream(pool, near, far)
        stream.clock.pass_by(1.0)
        await stream.carry(5)
        data = noise(2 * COALESCED)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(write(stream.speaker, data))
            await turn_until(lambda: stream.pump.moved >= 5 * PIECE + COALESCED)
            stream.clock.pass_by(COALESCED_WITHIN)
            assert stream.low_water == COALESCED
            stream.pump.stop()
            stream.hearer.close()
        assert stream.low_water == 1


async def test_the_end_of_a_fast_stream_is_told_at_once() -> None:
    """RL-02: an EOF wakes us, however little comes before it."""
    near, far = pair(), pair()
    with closing(near, far), PipePool() as pool:
        stream = Stream(pool, near, far)
        stream.clock.pass_by(1.0)
        await stream.carry(5)
        assert stream.low_water == COALESCED
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
            stream.clock.pass_by(2 * COALESCED_WITHIN)
            await stream.carry(1)
        assert stream.low_water == 1
        stream.pump.stop()
