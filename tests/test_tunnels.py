"""All tunnels together: what they share, and what is counted."""

from __future__ import annotations

import asyncio
import resource
import socket
from typing import TYPE_CHECKING

import pytest

from pt_bridge.config import Config
from pt_bridge.manners import Manners
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

if TYPE_CHECKING:
    from collections.abc import Callable

    from pt_bridge.wire import Wire

VARIABLES = {
    b"SS_REMOTE_HOST": b"192.0.2.1",
    b"SS_REMOTE_PORT": b"443",
    b"SS_LOCAL_HOST": b"127.0.0.1",
    b"SS_LOCAL_PORT": b"1984",
}


def state(sock: socket.socket) -> int:
    """Give a connection's state."""
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]


class Counted:
    """Tunnels, and how often one was said to have ended."""

    def __init__(self, hold: str = "both") -> None:
        self.ends = 0
        loop = asyncio.get_running_loop()
        options = f"transport=obfs3;hold={hold}".encode()
        config = Config({**VARIABLES, b"SS_PLUGIN_OPTIONS": options})
        self.tunnels = Tunnels(loop, config, self._ended)

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


@pytest.mark.parametrize(("hold", "each"), [("plain", 2), ("both", 4)])
async def test_there_is_room_for_many_but_not_for_all_descriptors(
    hold: str, each: int
) -> None:
    """RL-06, SE-10: two or four for each, and some for pipes and the rest."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    budget = Counted(hold).tunnels.budget
    assert limit / 2 < each * budget < limit


# -- both ends -------------------------------------------------------------------------

MANNERS = Manners(is_ending=lambda: False, is_asleep=lambda: True, cpu_time=lambda: 0.0)


class Held:
    """A PT that is held at both ends, and what it stands between.

    Attributes:
        host, net: the ends outside.
        plain, leg: the ends inside; the test is the PT.
        ends: how often its wire was said to have ended.
    """

    def __init__(self, tunnels: Tunnels, *, pt_dies: bool = False) -> None:
        self.pairs = [pair() for _ in range(4)]
        (self.host, near), (self.plain, plain), (self.leg, leg), (self.net, net) = (
            self.pairs
        )
        self._near, self._plain = near, plain
        self._tunnels = tunnels
        self.ends = 0
        self.wire = tunnels.wire(leg, net, self._ended, lambda: pt_dies)

    def _ended(self, wire: Wire) -> None:
        assert wire is self.wire
        self.ends += 1

    def join(self) -> None:
        """Let the tunnel begin."""
        self._tunnels.join_held(self._near, self._plain, self.wire, MANNERS)

    def outer(self) -> list[socket.socket]:
        """The ends that must learn of a failure."""
        return [self.host, self.net]


async def test_tunnels_that_are_held_at_both_ends_are_counted_alike() -> None:
    """Design 3, issue 4: what the host has sent and got, once."""
    counted = Counted()
    tunnels = counted.tunnels
    held = Held(tunnels)
    with closing(*held.pairs), tunnels:
        await write(held.leg, b"a handshake")
        assert await read(held.net, 11) == b"a handshake"
        assert (len(tunnels), tunnels.opened) == (0, 0)
        held.join()
        for source, sink in (
            *((held.host, held.plain), (held.leg, held.net)),
            *((held.net, held.leg), (held.plain, held.host)),
        ):
            await write(source, b"12345678")
            assert await read(sink, 8) == b"12345678"
        assert (len(tunnels), tunnels.opened, tunnels.moved) == (1, 1, 16)
        tunnels.cut()
        assert (len(tunnels), tunnels.opened, tunnels.moved) == (0, 1, 16)
        assert (counted.ends, held.ends) == (1, 0)
        assert [await is_reset(sock) for sock in held.outer()] == [True, True]


@pytest.mark.parametrize("event", [Tunnels.cut, Tunnels.pt_died])
async def test_a_wire_that_is_no_tunnel_yet_is_cut_with_the_tunnels(
    event: Callable[[Tunnels], None],
) -> None:
    """RL-11: its PT is not there any more, or we are not."""
    counted = Counted()
    with counted.tunnels:
        joined, waiting = Held(counted.tunnels), Held(counted.tunnels)
        with closing(*joined.pairs, *waiting.pairs):
            joined.join()
            event(counted.tunnels)
            assert await is_reset(waiting.net)
            assert await is_reset(waiting.leg)
            assert [await is_reset(sock) for sock in joined.outer()] == [True, True]
            assert (joined.ends, waiting.ends, counted.ends) == (0, 1, 1)
            event(counted.tunnels)
            assert (joined.ends, waiting.ends, counted.ends) == (0, 1, 1)


async def test_a_wire_that_ends_by_itself_is_told_of_once() -> None:
    """RL-10: and not again when all are cut."""
    counted = Counted()
    held = Held(counted.tunnels)
    with closing(*held.pairs), counted.tunnels:
        held.leg.close()
        assert await read_to_end(held.net) == b""
        counted.tunnels.cut()
        assert (held.ends, counted.ends) == (1, 0)


async def test_the_end_of_a_wire_whose_pt_dies_is_a_reset() -> None:
    """RL-11, SK-13: to the tunnel at the other end it would be an empty answer."""
    counted = Counted()
    held = Held(counted.tunnels, pt_dies=True)
    with closing(*held.pairs), counted.tunnels:
        held.leg.close()
        assert await is_reset(held.net)
        assert held.ends == 1


async def test_a_pt_that_hangs_up_where_its_tunnel_is_waited_for_is_no_answer() -> None:
    """SK-13: its client has come in already, and may have said all that it has to."""
    counted = Counted()
    held = Held(counted.tunnels)
    with closing(*held.pairs), counted.tunnels:
        held.wire.claim()
        held.leg.close()
        assert await is_reset(held.net)
        assert held.ends == 1
