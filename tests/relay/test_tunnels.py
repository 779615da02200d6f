"""All tunnels together: what they share, and what is counted."""

from __future__ import annotations

import asyncio
import resource
import socket
from typing import TYPE_CHECKING

import pytest

from pt_bridge.net.sockets import reset
from pt_bridge.options.config import Config
from pt_bridge.relay.tunnels import Tunnels
from tests.support.tcp import (
    CLOSE_WAIT,
    closing,
    is_reset,
    pair,
    read,
    read_to_end,
    turn_until,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Callable

VARIABLES = {
    b"SS_REMOTE_HOST": b"192.0.2.1",
    b"SS_REMOTE_PORT": b"443",
    b"SS_LOCAL_HOST": b"127.0.0.1",
    b"SS_LOCAL_PORT": b"1984",
}


def state(sock: socket.socket) -> int:
    """Return a connection's state."""
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]


class Counted:
    """Tunnels, and how often one was said to have ended."""

    def __init__(self, options: bytes = b"transport=obfs3") -> None:
        self.ends = 0
        loop = asyncio.get_running_loop()
        config = Config({**VARIABLES, b"SS_PLUGIN_OPTIONS": options})
        self.tunnels = Tunnels(loop, config, self._ended)

    def _ended(self) -> None:
        self.ends += 1


async def test_tunnels_are_joined_and_counted() -> None:
    """What SIGUSR1 tells."""
    counted = Counted()
    tunnels = counted.tunnels
    local, plain = pair(), pair()
    with closing(local, plain), tunnels:
        tunnels.join(local[1], plain[1], lambda: False)
        await write(local[0], b"question")
        assert await read(plain[0], 8) == b"question"
        await write(plain[0], b"answer")
        assert await read(local[0], 6) == b"answer"
        assert (len(tunnels), tunnels.opened, tunnels.moved) == (1, 1, 14)
        local[0].close()
        plain[0].close()
        await turn_until(lambda: counted.ends)
        assert (len(tunnels), tunnels.opened, tunnels.moved) == (0, 1, 14)


async def test_all_of_them_can_be_cut_at_once() -> None:
    """RL-11: when the PT dies."""
    counted = Counted()
    tunnels = counted.tunnels
    pairs = [(pair(), pair()) for _ in range(3)]
    with closing(*(each for both in pairs for each in both)), tunnels:
        for local, plain in pairs:
            tunnels.join(local[1], plain[1], lambda: False)
        assert len(tunnels) == 3
        tunnels.cut()
        assert (len(tunnels), counted.ends) == (0, 3)
        for local, plain in pairs:
            assert await is_reset(local[0])
            assert await is_reset(plain[0])


async def test_the_pts_death_spares_an_answer_that_was_whole_before() -> None:
    """RL-11: its host is only slow to read it."""
    tunnels = Counted().tunnels
    whole, cut = (pair(), pair()), (pair(), pair())
    with closing(*whole, *cut), tunnels:
        for local, plain in (whole, cut):
            tunnels.join(local[1], plain[1], lambda: False)
            await write(plain[0], b"answer")
            assert await read(local[0], 6) == b"answer"
        host, pt = whole[0][0], whole[1][0]
        await write(pt, b"the end")
        pt.shutdown(socket.SHUT_WR)
        await turn_until(lambda: state(host) == CLOSE_WAIT)
        tunnels.pt_died()
        assert await is_reset(cut[0][0])
        assert await read_to_end(host) == b"the end"
        assert len(tunnels) == 1
        tunnels.cut()


@pytest.mark.parametrize(
    ("options", "each"),
    [
        (b"transport=obfs3", 2),
        (b"server;transport=obfs3", 2),
        (b"server;transport=obfs3;front=yes", 4),
    ],
)
async def test_there_is_room_for_many_but_not_for_all_descriptors(
    options: bytes, each: int
) -> None:
    """RL-06, SE-10: two or four for each, and some for pipes and the rest."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    budget = Counted(options).tunnels.budget
    assert limit / 2 < each * budget < limit


async def test_what_was_read_before_goes_first_in_both_directions() -> None:
    """Whoever found out what a connection speaks has read some of it."""
    counted = Counted()
    tunnels = counted.tunnels
    local, plain = pair(), pair()
    with closing(local, plain), tunnels:
        await write(local[0], b" more")
        await write(plain[0], b" more")
        tunnels.join(
            local[1],
            plain[1],
            lambda: False,
            first_outbound=b"up",
            first_inbound=b"down",
        )
        assert await read(plain[0], 7) == b"up more"
        assert await read(local[0], 9) == b"down more"
        assert tunnels.moved == 16
        tunnels.cut()


async def test_an_answer_is_told_of_once_and_its_lack_as_well() -> None:
    """A server that answers without a session speaks none."""
    counted = Counted()
    told: list[str] = []
    pairs = [pair() for _ in range(4)]
    local, plain, other_near, other_far = pairs
    with closing(*pairs), counted.tunnels:
        for ends in ((local, plain), (other_near, other_far)):
            counted.tunnels.join(
                ends[0][1],
                ends[1][1],
                lambda: False,
                on_answer=lambda: told.append("answer"),
                on_unanswered=lambda: told.append("none"),
            )
        await write(plain[0], b"12")
        assert await read(local[0], 2) == b"12"
        await write(plain[0], b"3")
        assert await read(local[0], 1) == b"3"
        assert told == ["answer"]
        other_far[0].close()
        assert await read_to_end(other_near[0]) == b""
        other_near[0].close()
        await turn_until(lambda: counted.ends)
        assert told == ["answer", "none"]
        counted.tunnels.cut()
        assert told == ["answer", "none"]


async def test_one_that_was_counted_before_is_not_counted_again() -> None:
    """As a stream that turned out to be plain."""
    local, plain = pair(), pair()
    c = Counted()
    with closing(local, plain), c.tunnels as tunnels:
        tunnels.join(local[0], plain[0], lambda: False, is_new=False)
        assert (tunnels.opened, len(tunnels)) == (0, 1)
        tunnels.cut()


@pytest.mark.parametrize("how", [socket.socket.close, reset])
async def test_whoever_has_closed_or_reset_a_connection_is_gone(
    how: Callable[[socket.socket], None],
) -> None:
    """While its server is dialled, too: it keeps no place then."""
    local, near = both = pair()
    with closing(both), Counted().tunnels as tunnels:
        assert not tunnels.local_is_gone(local)
        near.shutdown(socket.SHUT_WR)
        assert not tunnels.local_is_gone(local)
        how(near)
        await turn_until(lambda: tunnels.local_is_gone(local))
