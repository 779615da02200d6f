"""Any number of silent holders of the cert, where descriptors are short.

Each gets through the PT, and then says nothing. At the limit of open files whoever has
been silent for longest goes, so that somebody new is let in and served.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

import pytest

from integration.support.bare_client import BareClient
from integration.support.endpoints import free_port
from integration.support.hostile import (
    EOF,
    Peer,
    Service,
    numbered,
    open_frame,
    preface,
)
from integration.support.pairings import HOST, OBFS4PROXY, network
from integration.support.programs import DEADLINE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.support.pairings import Network
    from integration.support.programs import Program

LIMIT = 256  # descriptors, for pt-bridge and for its PT
HOLDERS, AT_ONCE = 300, 20
LONG = 6 * DEADLINE
TOLD = "those that have been silent for longest are closed"
NOTHING, PREFACE, STREAM = "nothing", "a preface", "a stream that is over"
# Without a front a silent client may stay in lyrebird, which passes no close on.
CASES = [
    (OBFS4PROXY, "", NOTHING),
    (OBFS4PROXY, "", PREFACE),
    (OBFS4PROXY, "", STREAM),
    (OBFS4PROXY, ";front=yes", NOTHING),
    ("lyrebird", ";front=yes", STREAM),
]


@pytest.fixture
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """Return a network."""
    with network(tmp_path_factory.mktemp("holders")) as net:
        yield net


@pytest.mark.parametrize(("program", "front", "says"), CASES)
def test_300_silent_holders_of_the_cert_keep_no_client_out(
    net: Network, program: str, front: str, says: str
) -> None:
    """SE-10: with real PTs, at a limit that a third of them would reach."""
    with net.site.inside():
        scene = Scene(net, f"transport=obfs4;exec={program}{front}")
    with contextlib.closing(scene):
        net.run(scene.play(says), LONG)
    scene.server.wait_for(TOLD)


class Scene:
    """A server that has few descriptors, its silent clients, and one that speaks."""

    def __init__(self, net: Network, options: str) -> None:
        """Start all of it."""
        machine = net.machine
        self._preface = preface(machine)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self._listener.setblocking(False)
        self._remote, self._local = (HOST, free_port()), ("127.0.0.1", free_port())
        host, port = self._listener.getsockname()
        self.server: Program = machine.start(
            "prlimit",
            f"--nofile={LIMIT}",
            "pt-bridge",
            "server",
            f"--local={host}:{port}",
            f"--remote={HOST}:{self._remote[1]}",
            f"--plugin-opts={options}",
            variables=machine.with_lyrebird(),
        )
        line = machine.client_options(self.server)
        self._pt = BareClient(machine, OBFS4PROXY, line)
        machine.pt_bridge(
            "client",
            f"{line};exec={OBFS4PROXY}",
            local=self._local,
            remote=self._remote,
        ).wait_for("ready: ")

    def close(self) -> None:
        """Take nobody in any more."""
        self._listener.close()

    async def play(self, says: str) -> None:
        """Let the silent ones come, and then the client."""
        service = Service()
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(service.listening(self._listener))
            for _ in range(HOLDERS // AT_ONCE):
                async with asyncio.TaskGroup() as group:
                    for _ in range(AT_ONCE):
                        group.create_task(self._hold(says, stack))
            await self._is_served()

    async def _hold(self, says: str, stack: contextlib.AsyncExitStack) -> None:
        """Come, and stay; who is not let in at the first try goes."""
        try:
            peer = Peer(await self._pt.connect(self._remote))
        except (AssertionError, OSError):
            return
        stack.callback(peer.close)
        if says == NOTHING:
            return
        await peer.say(self._preface)
        if says == STREAM:
            await peer.say(open_frame(1), numbered(EOF, 1))

    async def _is_served(self) -> None:
        """Be a client that has just come."""
        reader, writer = await asyncio.open_connection(*self._local)
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        writer.close()
