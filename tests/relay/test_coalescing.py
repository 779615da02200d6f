"""When the kernel is asked to wake us less often, and when no more."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

from pt_bridge.relay.coalescing import (
    COALESCED,
    LEAST_COALESCED,
    LOOK,
    LOOK_AGAIN,
    Coalescing,
)
from tests.support.clock import ClockedLoop
from tests.support.tcp import closing, pair, readable

if TYPE_CHECKING:
    from collections.abc import Iterator

PIECE = 20_000
TICK = LOOK + 1e-9  # a sum of a few of them is not less than as many times `LOOK`
NEVER = 1, 0  # the low water, and how many timers run


class Rig:
    """What watches one socket, and goes by a test's clock."""

    def __init__(self, receive_buffer: int = 0) -> None:
        self.clock = ClockedLoop(asyncio.get_running_loop())
        self.clock.pass_by(1.0)
        self.peer, self.sock = pair(receive_buffer=receive_buffer)
        loop = self.clock.as_loop
        self.coalescing = Coalescing(loop, self.sock)
        self.coalescing.read(1)

    @property
    def low_water(self) -> int:
        """How many bytes the kernel waits for."""
        return self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT)

    @property
    def state(self) -> tuple[int, int]:
        """The low water, and how many timers run."""
        return self.low_water, self.clock.timers

    def waits_for(self, number: int) -> bool:
        """Return whether that is awaited, but for a byte, and one timer runs."""
        low_water, timers = self.state
        return abs(low_water - number) <= 1 and timers == 1

    def read(self, number: int, size: int = PIECE, seconds: float = TICK) -> None:
        """Read so many pieces, the last of them after so many seconds."""
        for _ in range(number - 1):
            self.coalescing.read(size)
        self.clock.pass_by(seconds)
        self.coalescing.read(size)


def rigs(receive_buffer: int = 0) -> Iterator[Rig]:
    """Build one, and see that it leaves the socket as it was."""
    rig = Rig(receive_buffer)
    with closing((rig.peer, rig.sock)):
        yield rig
        rig.coalescing.stop()
        rig.coalescing.stop()
        assert rig.state == NEVER


async def test_half_of_what_came_is_waited_for() -> None:
    """Our CPU for each byte, at any rate but a slow one."""
    for rig in rigs():
        rig.read(5)
        assert rig.waits_for(5 * PIECE // 2)


async def test_a_long_time_is_no_high_rate() -> None:
    for rig in rigs():
        rig.read(10, seconds=2 * TICK)
        assert rig.waits_for(5 * PIECE // 2)


async def test_no_more_is_waited_for_than_gains_something() -> None:
    for rig in rigs():
        rig.read(100)
        assert rig.low_water == COALESCED
        rig.read(99)
        assert rig.waits_for(COALESCED)


async def test_who_stays_fast_is_waited_for_at_his_own_rate() -> None:
    for rig in rigs():
        rig.read(5)
        for number in (6, 6, 8, 4):
            for _ in range(number):
                rig.coalescing.read(PIECE)
            rig.clock.pass_by(TICK)
            assert rig.waits_for(number * PIECE // 2)


async def test_the_rest_of_a_burst_is_late_once() -> None:
    """Who asks again when he has all of an answer would have each of them late."""
    for rig in rigs():
        rig.read(5)
        rig.coalescing.read(2 * PIECE)
        rig.clock.pass_by(TICK)
        assert rig.state == NEVER
        for _ in range(4):
            rig.read(5)
            assert rig.state == NEVER
        rig.read(100, seconds=LOOK_AGAIN - 4 * LOOK)
        assert rig.waits_for(120 * PIECE // 20 // 2)


async def test_who_is_very_fast_is_waited_for_again_at_once() -> None:
    for rig in rigs():
        rig.read(100)
        rig.coalescing.read(PIECE)
        rig.clock.pass_by(TICK)
        assert rig.state == NEVER
        rig.read(100)
        assert rig.low_water == COALESCED


async def test_who_slows_down_is_read_piece_by_piece() -> None:
    for rig in rigs():
        rig.read(4)
        rig.coalescing.read(2 * LEAST_COALESCED - 1)
        rig.clock.pass_by(TICK)
        assert rig.state == NEVER


async def test_who_is_slow_is_read_piece_by_piece() -> None:
    """Nobody waits for what may not come."""
    for rig in rigs():
        for _ in range(20):
            rig.read(3)
        assert rig.state == NEVER


async def test_there_is_no_rate_where_no_time_has_passed() -> None:
    for rig in rigs():
        for _ in range(1000):
            rig.coalescing.read(PIECE)
        assert rig.state == NEVER


async def test_large_pieces_need_no_help() -> None:
    for rig in rigs():
        for size in (2 * PIECE, COALESCED, 4 * COALESCED):
            for _ in range(10):
                rig.read(3, size)
        assert rig.state == NEVER


async def test_what_is_waited_for_fits_into_a_small_receive_buffer() -> None:
    """Or nobody would wake us: the clock stands still."""
    for size in (2000, 20_000, 80_000):
        for rig in rigs(receive_buffer=size):
            rig.read(100)
            room = rig.sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
            assert 1 < rig.low_water <= room // 2
            async with asyncio.TaskGroup() as tasks:
                loop = asyncio.get_running_loop()
                sent = tasks.create_task(loop.sock_sendall(rig.peer, bytes(4_000_000)))
                await readable(rig.sock)
                sent.cancel()
