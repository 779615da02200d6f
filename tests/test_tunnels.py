"""All tunnels together: what they share, and what is counted."""

from __future__ import annotations

import asyncio
import resource
import socket

from pt_bridge.config import Config
from pt_bridge.tunnels import Tunnels
from tests.tcp import (
    CLOSE_WAIT,
    closing,
    is_reset,
    pair,
    read,
    read_to_end,
    turn_until,
    write,
)

VARIABLES = {
    b"SS_REMOTE_HOST": b"192.0.2.1",
    b"SS_REMOTE_PORT": b"443",
    b"SS_LOCAL_HOST": b"127.0.0.1",
    b"SS_LOCAL_PORT": b"1984",
    b"SS_PLUGIN_OPTIONS": b"transport=obfs3",
}


def state(sock: socket.socket) -> int:
    """Give a connection's state."""
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]


class Counted:
    """Tunnels, and how often one was said to have ended."""

    def __init__(self) -> None:
        self.ends = 0
        loop = asyncio.get_running_loop()
        self.tunnels = Tunnels(loop, Config(VARIABLES), self._ended)

    def _ended(self) -> None:
        self.ends += 1


async def test_tunnels_are_joined_and_counted() -> None:
    """Design 3, issue 4: what SIGUSR1 tells."""
    counted = Counted()
    tunnels = counted.tunnels
    near, far = pair(), pair()
    with closing(near, far), tunnels:
        tunnels.join(near[1], far[1], lambda: False)
        await write(near[0], b"question")
        assert await read(far[0], 8) == b"question"
        await write(far[0], b"answer")
        assert await read(near[0], 6) == b"answer"
        assert (len(tunnels), tunnels.opened, tunnels.moved) == (1, 1, 14)
        near[0].close()
        far[0].close()
        await turn_until(lambda: counted.ends)
        assert (len(tunnels), tunnels.opened, tunnels.moved) == (0, 1, 14)


async def test_all_of_them_can_be_cut_at_once() -> None:
    """RL-11: when the PT dies."""
    counted = Counted()
    tunnels = counted.tunnels
    pairs = [(pair(), pair()) for _ in range(3)]
    with closing(*(each for both in pairs for each in both)), tunnels:
        for near, far in pairs:
            tunnels.join(near[1], far[1], lambda: False)
        assert len(tunnels) == 3
        tunnels.cut()
        assert (len(tunnels), counted.ends) == (0, 3)
        for near, far in pairs:
            assert await is_reset(near[0])
            assert await is_reset(far[0])


async def test_the_pts_death_spares_an_answer_that_was_whole_before() -> None:
    """RL-11: its host is only slow to read it."""
    tunnels = Counted().tunnels
    whole, cut = (pair(), pair()), (pair(), pair())
    with closing(*whole, *cut), tunnels:
        for near, far in (whole, cut):
            tunnels.join(near[1], far[1], lambda: False)
            await write(far[0], b"answer")
            assert await read(near[0], 6) == b"answer"
        host, pt = whole[0][0], whole[1][0]
        await write(pt, b"the end")
        pt.shutdown(socket.SHUT_WR)
        await turn_until(lambda: state(host) == CLOSE_WAIT)
        tunnels.pt_died()
        assert await is_reset(cut[0][0])
        assert await read_to_end(host) == b"the end"
        assert len(tunnels) == 1
        tunnels.cut()


async def test_there_is_room_for_many_but_not_for_all_descriptors() -> None:
    """RL-06, SE-10: two for each, and some for pipes and the rest."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    budget = Counted().tunnels.budget
    assert limit / 4 < budget < limit / 2
