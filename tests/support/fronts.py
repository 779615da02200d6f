"""A front, and the PT and the clients, which a test plays."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

from pt_bridge.front.front import Front
from pt_bridge.net.bind import bind
from pt_bridge.net.sockets import reset
from pt_bridge.protocol.address import Address
from tests.support.clock import ClockedLoop
from tests.support.pumps import maker
from tests.support.tcp import (
    CLOSED,
    is_reset,
    noise,
    read,
    read_to_end,
    state,
    turn_until,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pt_bridge.front.connection import FrontedConnection

HELLO, ANSWER = noise(1000), noise(2000)
PATIENCE = 30.0  # seconds, on a clock that only the test moves
MOMENT = 0.001


async def hung_up(sock: socket.socket) -> None:
    """Wait until a connection whose EOF was read is reset."""
    await turn_until(lambda: state(sock) == CLOSED)


class PlayedPt:
    """A PT, as far as its port goes."""

    def __init__(self, stack: contextlib.ExitStack, *, backlog: int = 100) -> None:
        self._stack = stack
        self.sock = stack.enter_context(
            socket.create_server(("127.0.0.1", 0), backlog=backlog)
        )
        self.sock.setblocking(False)
        self.address = Address(*self.sock.getsockname())
        self.is_dead = False

    def has_died(self) -> bool:
        return self.is_dead

    def die(self) -> None:
        """Begin to exit: the port closes, and with it whoever was not accepted."""
        self.is_dead = True
        self.sock.close()

    async def accept(self) -> socket.socket:
        sock, _ = await asyncio.get_running_loop().sock_accept(self.sock)
        return self._stack.enter_context(sock)


class Rig:
    """A front, its clock, its PT, and what was complained of.

    Attributes:
        silent: who makes room for others, though he was let in.
    """

    def __init__(
        self,
        stack: contextlib.ExitStack,
        hosts: tuple[str, ...],
        budget: int,
        *,
        is_clocked: bool,
        reads_headers: bool = False,
    ) -> None:
        self._stack = stack
        self.loop = asyncio.get_running_loop()
        self.clock = ClockedLoop(self.loop)
        self.complaints: list[str] = []
        self.names_clients = False
        self.silent: list[FrontedConnection] = []
        self.pt = PlayedPt(stack)
        socks = [socket.socket(fileno=bind(Address(host, 0))) for host in hosts]
        self.ports = [sock.getsockname()[:2] for sock in socks]
        self.front = Front(
            self.clock.as_loop if is_clocked else self.loop,
            socks,
            complain=self.complaints.append,
            budget=budget,
            patience=PATIENCE,
            pump=maker.get(),
            clock=self.clock.as_loop,
            drop_silent=self._drop_silent,
            reads_headers=reads_headers,
        )

    def _drop_silent(self) -> None:
        for each in self.silent:
            each.drop()

    def open(self, on_stuck: Callable[[], None] | None = None) -> None:
        self.fronted = self.front.open(
            self.pt.address,
            self.pt.has_died,
            names_clients=self.names_clients,
            on_stuck=on_stuck,
        )

    def restart(self) -> None:
        """Start another PT, which is open."""
        self.pt = PlayedPt(self._stack)
        self.open()

    async def connect(self, data: bytes = b"", *, port: int = 0) -> socket.socket:
        """Act as a client that connects, and perhaps says something."""
        place = self.ports[port]
        family = socket.AF_INET6 if ":" in place[0] else socket.AF_INET
        client = self._stack.enter_context(socket.socket(family))
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.connect(place)  # the kernel accepts; the front has had no turn since
        client.setblocking(False)
        if data:
            await write(client, data)
        return client

    async def connected(self) -> tuple[socket.socket, socket.socket]:
        """Act as a client and the PT, which have said nothing yet."""
        client = await self.connect()
        wire = await self.pt.accept()
        here = Address(*wire.getpeername())
        await turn_until(lambda: self.fronted.client_of(here))
        return client, wire

    async def relayed(self) -> tuple[socket.socket, socket.socket]:
        """Act as a client and the PT, which have greeted each other."""
        client = await self.connect(HELLO)
        wire = await self.pt.accept()
        assert await read(wire, len(HELLO)) == HELLO
        await write(wire, ANSWER)
        assert await read(client, len(ANSWER)) == ANSWER
        return client, wire

    async def bystander(self) -> None:
        """Wait until everything that came before has been looked at."""
        client = await self.connect()
        client.shutdown(socket.SHUT_WR)
        assert await read_to_end(client) == b""

    async def settle(self) -> None:
        """Wait until whatever came before has been relayed."""
        client = await self.connect()
        wire = await self.pt.accept()
        for source, sink in ((client, wire), (wire, client)):
            await write(source, b"x")
            await read(sink, 1)
        reset(client)
        assert await is_reset(wire)

    async def is_over(self) -> None:
        """Wait until the front has forgotten every connection."""
        await turn_until(lambda: not len(self.front))


@contextlib.contextmanager
def rig(
    *hosts: str,
    budget: int = 1000,
    is_open: bool = True,
    is_clocked: bool = False,
    reads_headers: bool = False,
) -> Iterator[Rig]:
    """Build a front, and take everything down in the end.

    Args:
        hosts: where it listens.
        budget: how many connections it may have.
        is_open: whether there is a PT.
        is_clocked: whether the time of everything is the test's; then no bulk moves.
        reads_headers: whether its clients come through a balancer.
    """
    with contextlib.ExitStack() as stack:
        built = Rig(
            stack,
            hosts or ("127.0.0.1",),
            budget,
            is_clocked=is_clocked,
            reads_headers=reads_headers,
        )
        with built.front:
            if is_open:
                built.open()
            yield built
        assert not len(built.front)
        built.clock.pass_by(1e6)  # nothing is left to happen
        assert len(built.clock.appointments) == 0
