"""The end of a connection whose peer may still be talking."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

import pytest

from pt_bridge.net.sockets import reset, unsent
from pt_bridge.relay.draining_close import DRAINING_LIMIT, DrainingClose
from tests.support.clock import ClockedLoop
from tests.support.tcp import (
    closing,
    is_silent,
    noise,
    pair,
    read,
    read_to_end,
    turn_until,
    wait_for_hangup,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.tcp import Pair

WORDS = noise(1000)
A_LOT = noise(150_000)  # more than a slow peer has room for
MOMENT = 0.001


class Rig:
    """A connection that is about to end, and its peer."""

    def __init__(self, both: Pair) -> None:
        self.loop = asyncio.get_running_loop()
        self.clock = ClockedLoop(self.loop)
        self.sock, self.peer = both
        self.ends: list[DrainingClose] = []
        self.draining: DrainingClose

    def begin(self) -> None:
        """Begin it."""
        loop = self.clock.as_loop
        self.draining = DrainingClose(loop, self.sock, self._ended)

    def _ended(self, draining: DrainingClose) -> None:
        assert self.sock.fileno() == -1  # it says so only afterwards
        self.ends.append(draining)

    async def over(self) -> None:
        """Wait for its end, and see that it is told of once."""
        await turn_until(lambda: self.ends)
        self.clock.pass_by(2 * DRAINING_LIMIT)
        assert self.ends == [self.draining]


@contextlib.contextmanager
def rig(*, begin: bool = True, is_slow: bool = False) -> Iterator[Rig]:
    """Build a rig; see that nothing is left when it is taken down.

    Args:
        begin: whether it has begun.
        is_slow: whether the peer takes little unless it reads.
    """
    both = pair(send_buffer=400_000, receive_buffer=20_000) if is_slow else pair()
    with closing(both):
        built = Rig(both)
        descriptor = built.sock.fileno()
        if begin:
            built.begin()
        yield built
        if not built.ends:
            built.draining.reset()
        assert built.sock.fileno() == -1
        built.clock.pass_by(2 * DRAINING_LIMIT)
        assert not built.loop.remove_reader(descriptor)


async def test_a_peer_that_ends_too_ends_it() -> None:
    """RL-02: it has heard the end, and is let go in peace."""
    with rig() as r:
        assert await read_to_end(r.peer) == b""
        r.peer.shutdown(socket.SHUT_WR)
        await r.over()
        assert await read_to_end(r.peer) == b""


async def test_a_peer_has_everything_before_it_is_left() -> None:
    """RL-02: though it talks on meanwhile, which would make a close a reset."""
    with rig(begin=False, is_slow=True) as r:
        await write(r.sock, A_LOT)
        r.begin()
        for _ in range(5):
            await write(r.peer, WORDS)
            await turn_until(lambda: not is_silent(r.sock))
            await turn_until(lambda: is_silent(r.sock))
        assert unsent(r.sock)
        assert await read_to_end(r.peer) == A_LOT
        r.peer.close()
        await r.over()


async def test_who_has_everything_and_talks_on_is_reset() -> None:
    """RL-10: it would not learn that nobody listens."""
    with rig() as r:
        assert await read_to_end(r.peer) == b""
        await turn_until(lambda: not unsent(r.sock))
        await write(r.peer, WORDS)
        await r.over()
        wait_for_hangup(r.peer)


async def test_a_peer_that_is_gone_ends_it() -> None:
    """RL-10: found by a reset."""
    with rig() as r:
        reset(r.peer)
        await r.over()


async def test_a_peer_that_was_gone_before_ends_it() -> None:
    """RL-10: likewise."""
    with rig(begin=False) as r:
        reset(r.peer)
        wait_for_hangup(r.sock)
        r.begin()
        await r.over()


async def test_a_peer_that_does_nothing_is_left_in_time() -> None:
    """SE-10: it has everything, and leaves out its own end."""
    with rig() as r:
        assert await read_to_end(r.peer) == b""
        await turn_until(lambda: not unsent(r.sock))
        r.clock.pass_by(DRAINING_LIMIT - MOMENT)
        assert not r.ends
        while not r.ends:  # the kernel may have had it acknowledged late
            r.clock.pass_by(DRAINING_LIMIT)
        assert r.clock.now < 3 * DRAINING_LIMIT
        await r.over()
        wait_for_hangup(r.peer)


async def test_a_peer_that_takes_nothing_is_left_in_time() -> None:
    """SE-10: however much it was sent."""
    with rig(begin=False, is_slow=True) as r:
        await write(r.sock, A_LOT)
        r.begin()
        while not r.ends:
            r.clock.pass_by(DRAINING_LIMIT)
        assert r.clock.now < 4 * DRAINING_LIMIT
        await r.over()
        with pytest.raises(ConnectionResetError):
            await read_to_end(r.peer)


async def test_a_slow_peer_may_take_as_long_as_it_takes_something() -> None:
    """RL-10: a slow reader is none that is gone."""
    with rig(begin=False, is_slow=True) as r:
        await write(r.sock, A_LOT)
        r.begin()
        heard = b""
        while len(heard) < len(A_LOT) - 40_000:
            before = unsent(r.sock)
            heard += await read(r.peer, 20_000)
            await turn_until(lambda before=before: unsent(r.sock) < before)  # type: ignore[misc]
            r.clock.pass_by(DRAINING_LIMIT)
            assert not r.ends
        assert r.clock.now > 3 * DRAINING_LIMIT
        heard += await read_to_end(r.peer)
        assert heard == A_LOT


async def test_it_can_be_cut_short() -> None:
    """As when we are told to stop; and whoever does that knows it."""
    with rig() as r:
        r.draining.reset()
        assert r.ends == []
        wait_for_hangup(r.peer)
        r.ends.append(r.draining)
