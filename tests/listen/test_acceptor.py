"""The accept loop: its room, its pauses, its end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from typing import TYPE_CHECKING

import pytest

from pt_bridge.listen.acceptor import PAUSE, Acceptor
from pt_bridge.net.sockets import is_prepared
from tests.support.clock import Clock
from tests.support.tcp import turn_until

if TYPE_CHECKING:
    from collections.abc import Iterator

HOST = "127.0.0.1"


class Ports:
    """An accept loop on two ports, with as much room as a test says."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._stack = stack
        socks = [socket.create_server((HOST, 0)) for _ in range(2)]
        self.addresses = [sock.getsockname() for sock in socks]
        self.clock = Clock()
        self.room = 1_000
        self.accepted: list[socket.socket] = []
        self.shortages: list[OSError] = []
        self.times_all_in = 0
        self.acceptor = Acceptor(
            asyncio.get_running_loop(),
            socks,
            self._keep,
            has_room=self._has_room,
            on_shortage=self.shortages.append,
            on_all_in=self._count,
            call_later=self.clock.call_later,
        )
        stack.callback(self.acceptor.close)

    def _keep(self, sock: socket.socket) -> None:
        self.accepted.append(self._stack.enter_context(sock))

    def _count(self) -> None:
        self.times_all_in += 1

    def _has_room(self, listening: socket.socket) -> bool:
        assert listening.getsockname() in self.addresses
        if len(self.accepted) < self.room:
            return True
        self.acceptor.pause(1.0)
        return False

    def call(self, number: int = 0) -> None:
        """Connect to one of the ports."""
        address = self.addresses[number]
        self._stack.enter_context(socket.create_connection(address))

    async def have(self, number: int) -> None:
        """Wait until so many were accepted."""
        await turn_until(lambda: len(self.accepted) >= number)
        assert len(self.accepted) == number


@contextlib.contextmanager
def ports() -> Iterator[Ports]:
    """Listen on two ports, and close everything in the end."""
    with contextlib.ExitStack() as stack:
        yield Ports(stack)


async def test_nobody_is_accepted_before_it_is_said() -> None:
    with ports() as p:
        p.call(0)
        p.call(1)
        assert not p.acceptor.is_accepting
        p.acceptor.accept()
        assert p.acceptor.is_accepting
        await p.have(2)
        assert sorted(s.getsockname() for s in p.accepted) == sorted(p.addresses)
        await turn_until(lambda: p.times_all_in == 2)


async def test_who_calls_in_a_pause_waits_until_it_is_over() -> None:
    """RL-06: in the system's backlog; a pause may be cut short, too."""
    with ports() as p:
        p.room = 1
        p.acceptor.accept()
        p.call()
        await p.have(1)
        p.call()
        await turn_until(lambda: p.acceptor.is_paused)
        assert not p.acceptor.is_accepting
        p.room = 2
        p.clock.pass_by(1.0)
        await p.have(2)
        p.call()
        await turn_until(lambda: p.acceptor.is_paused)
        p.room = 3
        p.acceptor.accept()
        assert not p.acceptor.is_paused
        await p.have(3)


async def test_a_pause_without_an_end_lasts_until_it_is_told_to_go_on() -> None:
    with ports() as p:
        p.acceptor.accept()
        p.acceptor.pause()
        p.acceptor.pause()
        p.call()
        p.clock.pass_by(3600.0)
        assert not p.acceptor.is_accepting
        assert not p.acceptor.is_paused
        assert not p.accepted
        p.acceptor.accept()
        p.acceptor.accept()
        await p.have(1)


async def test_where_the_system_cannot_accept_it_tries_again_after_a_while() -> None:
    """RL-06: of a socket that does not listen the kernel tells that, each time."""
    clock, shortages, accepted = Clock(), list[OSError](), list[socket.socket]()
    with socket.socket() as sock:
        acceptor = Acceptor(
            asyncio.get_running_loop(),
            [sock],
            accepted.append,
            has_room=lambda _: True,
            on_shortage=shortages.append,
            call_later=clock.call_later,
        )
        acceptor.accept()
        for number in (1, 2):
            await turn_until(lambda: acceptor.is_paused)
            assert [error.errno for error in shortages] == [errno.EINVAL] * number
            clock.pass_by(PAUSE)
        acceptor.close()
        acceptor.close()
        assert not acceptor.is_paused
    assert not accepted


async def test_its_end_closes_the_ports() -> None:
    with ports() as p:
        p.acceptor.accept()
        p.acceptor.close()
        for address in p.addresses:
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(address)


async def test_what_is_accepted_is_prepared_as_its_port_is() -> None:
    """RL-05: Linux passes that on."""
    with ports() as p:
        p.acceptor.accept()
        for number in range(1, 4):
            p.call()
            await p.have(number)
        assert all(is_prepared(sock) for sock in p.accepted)
        assert not any(sock.getblocking() for sock in p.accepted)
        assert len(p.acceptor._pass_on) == 1


async def test_where_the_system_passes_nothing_on_each_is_prepared_by_itself() -> None:
    """RL-05."""
    with ports() as p:
        for sock in p.acceptor._socks:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)
        p.call(0)
        p.call(1)
        p.acceptor.accept()
        await p.have(2)
        assert all(is_prepared(sock) for sock in p.accepted)
        assert not p.acceptor._pass_on
