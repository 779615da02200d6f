"""When the kernel is asked to wake us less often, and when no more."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

from pt_bridge.relay.coalescing import COALESCED, COALESCED_WITHIN, Coalescing
from tests.support.clock import ClockedLoop
from tests.support.tcp import closing, pair

if TYPE_CHECKING:
    from collections.abc import Iterator

PIECE = COALESCED // 4


class Rig:
    """What watches one socket, and goes by a test's clock."""

    def __init__(self) -> None:
        self.clock = ClockedLoop(asyncio.get_running_loop())
        self.clock.pass_by(1.0)
        self.peer, self.sock = pair()
        loop = self.clock.as_loop
        self.coalescing = Coalescing(loop, self.sock)

    @property
    def low_water(self) -> int:
        """How many bytes the kernel waits for."""
        return self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT)

    def read(self, number: int) -> None:
        """Read so many pieces."""
        for _ in range(number):
            self.coalescing.read(PIECE)


def rigs() -> Iterator[Rig]:
    """Build one, and see that it leaves the socket as it was."""
    rig = Rig()
    with closing((rig.peer, rig.sock)):
        yield rig
        rig.coalescing.stop()
        rig.coalescing.stop()
        assert (rig.low_water, rig.clock.timers) == (1, 0)


async def test_much_that_comes_fast_in_small_pieces_is_waited_for() -> None:
    """Our CPU for each byte."""
    for rig in rigs():
        rig.read(4)
        assert rig.low_water == 1
        rig.read(1)
        assert rig.low_water == COALESCED


async def test_who_stays_fast_is_waited_for_until_it_slows_down() -> None:
    """The rest of a burst is late by a moment, once."""
    for rig in rigs():
        rig.read(5)
        for _ in range(3):
            rig.read(4)
            rig.clock.pass_by(COALESCED_WITHIN)
            assert rig.low_water == COALESCED
        rig.read(3)
        rig.clock.pass_by(COALESCED_WITHIN)
        assert (rig.low_water, rig.clock.timers) == (1, 0)


async def test_who_is_slow_is_read_piece_by_piece() -> None:
    """Nobody waits for what may not come."""
    for rig in rigs():
        for _ in range(20):
            rig.read(1)
            rig.clock.pass_by(2 * COALESCED_WITHIN)
        assert (rig.low_water, rig.clock.timers) == (1, 0)


async def test_large_pieces_need_no_help() -> None:
    for rig in rigs():
        for _ in range(20):
            rig.coalescing.read(COALESCED)
        assert (rig.low_water, rig.clock.timers) == (1, 0)
