"""Splicing: the pool of pipes, and what happens where the system refuses.

That a spliced byte arrives like a copied one is shown in test_pump and test_tunnel,
whose tests all run over both.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
from typing import TYPE_CHECKING

import pytest

from pt_bridge.pump import CHUNK, End
from pt_bridge.splice import KEPT_PIPES, PIPE_SIZE, Pipe, PipePool, pump_maker
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
