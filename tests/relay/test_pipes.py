"""Pipes that are lent, and come back."""

from __future__ import annotations

import fcntl
import os

from pt_bridge.relay.pipes import (
    KEPT_PIPES,
    PIPE_SIZE,
    RECENT,
    TURN_BESIDE_MESSAGES,
    PipePool,
)
from pt_bridge.relay.splice import fill_from
from tests.support.clock import Clock
from tests.support.tcp import closing, pair, write


def test_a_pipe_that_is_given_back_is_lent_again() -> None:
    """A pool, so that moving bytes opens no descriptor."""
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


def test_less_goes_into_a_pipe_while_messages_move() -> None:
    """Whoever exchanges them waits for it."""
    clock = Clock()
    with PipePool(clock=clock.time) as pool:
        assert pool.fill == PIPE_SIZE
        pool.note_messages()
        clock.pass_by(RECENT)
        assert pool.fill == TURN_BESIDE_MESSAGES
        clock.pass_by(RECENT)
        assert pool.fill == PIPE_SIZE


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


async def test_what_a_refused_pipe_holds_is_copied_out() -> None:
    near = pair()
    with closing(near), PipePool() as pool:
        pipe = pool.borrow()
        assert pipe is not None
        await write(near[0], b"some bytes")
        assert fill_from(pipe, near[1], 10) == 10
        assert pool.copy_out(pipe, 10) == b"some bytes"
        assert (pool.lent, pool.borrow()) == (0, None)
