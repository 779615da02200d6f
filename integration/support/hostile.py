"""A peer that has the cert, and keeps to no rule: what it says, and who hears it.

The frames are written down here anew, from the protocol's description: what the program
itself takes for right is no witness.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from typing import TYPE_CHECKING

from integration.support.bare_client import BareClient
from integration.support.bare_server import BareServer
from integration.support.endpoints import free_port
from integration.support.pairings import HOST, OBFS4PROXY, SESSION
from integration.support.programs import DEADLINE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from integration.support.machine import Machine
    from integration.support.pairings import Network

OPEN, ACCEPT, DATA, EOF, RESET, BEAT, BYE = range(1, 8)
TCP = 1
PREFACE_SIZE = 16
ID_SIZE = 8
CHUNK = 64 * 1024
# What begins with this is not read on.
TO_THE_DEAF = b"deaf"


def frame(kind: int, payload: bytes = b"", *, length: int | None = None) -> bytes:
    """Return a frame; it may lie about its length."""
    size = len(payload) if length is None else length
    return struct.pack(">I", kind << 24 | size) + payload


def numbered(kind: int, number: int, rest: bytes = b"") -> bytes:
    """Return a frame that is about a stream."""
    return frame(kind, number.to_bytes(2, "big") + rest)


def open_frame(number: int, kind: int = TCP) -> bytes:
    """Return an OPEN with an id of its own."""
    return numbered(OPEN, number, bytes([kind]) + os.urandom(ID_SIZE))


def preface(machine: Machine) -> bytes:
    """Return what a client with the session says first: ask a real one."""
    with socket.create_server(("127.0.0.1", 0)) as service:
        service.settimeout(DEADLINE)
        server = BareServer(machine, OBFS4PROXY, service.getsockname())
        local = ("127.0.0.1", free_port())
        options = server.options + SESSION
        client = machine.pt_bridge(
            "client", options, local=local, remote=server.address
        )
        client.wait_for("ready: ")
        with socket.create_connection(local) as sock:
            sock.sendall(b"x")
            heard, _ = service.accept()
            with heard:
                heard.settimeout(DEADLINE)
                said = b""
                while len(said) < PREFACE_SIZE:
                    said += heard.recv(PREFACE_SIZE - len(said))
        client.stop()
    return said


class Service:
    """An echo that notes who came, and what each said; it stops reading when told to.

    Attributes:
        heard: the bytes of each connection, the first `CHUNK` of them.
    """

    def __init__(self) -> None:
        """Listen not yet."""
        self.heard: list[bytes] = []

    @contextlib.asynccontextmanager
    async def listening(self, listener: socket.socket) -> AsyncIterator[None]:
        """Serve whoever comes from now on."""
        with contextlib.suppress(BlockingIOError):
            while True:
                listener.accept()[0].close()  # it came too late for the last service
        loop = asyncio.get_running_loop()
        tasks: list[asyncio.Task[None]] = []
        with contextlib.ExitStack() as socks:
            async with asyncio.TaskGroup() as group:

                def accept() -> None:
                    # Not in a task: one that is cancelled loses what it has accepted.
                    with contextlib.suppress(BlockingIOError):
                        sock = socks.enter_context(listener.accept()[0])
                        sock.setblocking(False)
                        tasks.append(group.create_task(self._serve(sock)))

                loop.add_reader(listener, accept)
                try:
                    yield
                finally:
                    loop.remove_reader(listener)
                    for task in tasks:
                        task.cancel()

    async def _serve(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        number = len(self.heard)
        self.heard.append(b"")
        with sock, contextlib.suppress(ConnectionError):
            while data := await loop.sock_recv(sock, CHUNK):
                if data.startswith(TO_THE_DEAF):
                    await asyncio.Event().wait()
                self.heard[number] = (self.heard[number] + data)[:CHUNK]
                await loop.sock_sendall(sock, data)


class Peer:
    """One connection to the server's session, through a PT."""

    def __init__(self, sock: socket.socket) -> None:
        """Take the connection."""
        self._sock = sock

    async def say(self, *frames: bytes) -> None:
        """Send something; it may go nowhere any more."""
        with contextlib.suppress(ConnectionError):
            await asyncio.get_running_loop().sock_sendall(self._sock, b"".join(frames))

    async def hear(self, size: int) -> bytes:
        """Return so many bytes."""
        data = b""
        while len(data) < size:
            more = await asyncio.get_running_loop().sock_recv(
                self._sock, size - len(data)
            )
            assert more, f"an end after {data.hex()}"
            data += more
        return data

    async def hear_frame(self) -> tuple[int, bytes]:
        """Return the type and the payload of the next frame."""
        (word,) = struct.unpack(">I", await self.hear(4))
        return word >> 24, await self.hear(word & 0xFFFFFF)

    async def hear_data(self, size: int) -> bytes:
        """Return so many bytes of DATA; all other frames are passed over."""
        data = b""
        while len(data) < size:
            kind, payload = await self.hear_frame()
            if kind == DATA:
                data += payload
        return data

    async def hear_the_end_or(self, size: int) -> bytes:
        """Return so many bytes at most: fewer where the connection ends."""
        with contextlib.suppress(ConnectionError):
            return await asyncio.get_running_loop().sock_recv(self._sock, size)
        return b""

    async def hear_the_end(self) -> bytes:
        """Return all that comes before the connection ends, however it does."""
        data = b""
        with contextlib.suppress(ConnectionError):
            while more := await asyncio.get_running_loop().sock_recv(self._sock, CHUNK):
                data += more
        return data

    def close(self) -> None:
        """Hang up."""
        self._sock.close()


class Stage:
    """A server with the session, an honest client, and the way in for hostile ones.

    Attributes:
        preface: what a session begins with.
        server: ``pt-bridge server``.
    """

    def __init__(self, net: Network) -> None:
        """Start all of them."""
        machine = net.machine
        self.preface = preface(machine)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self._listener.setblocking(False)
        self._remote = (HOST, free_port())
        pair = machine.pair(
            self._listener.getsockname(),
            server_options=f"transport=obfs4;exec={OBFS4PROXY}",
            client_options=f";exec={OBFS4PROXY}",
            remote=self._remote,
        )
        self.server = pair.server
        self._local = pair.local
        self._pt = BareClient(machine, OBFS4PROXY, machine.client_options(pair.server))

    @contextlib.asynccontextmanager
    async def service(self) -> AsyncIterator[Service]:
        """Return a service that nobody has reached yet."""
        service = Service()
        async with service.listening(self._listener):
            yield service

    def close(self) -> None:
        """Take nobody in any more."""
        self._listener.close()

    @contextlib.asynccontextmanager
    async def peer(self) -> AsyncIterator[Peer]:
        """Return a hostile one, who has said nothing yet."""
        peer = Peer(await self._pt.connect(self._remote))
        try:
            yield peer
        finally:
            peer.close()

    async def honest_ones_are_served(self, size: int = 200_000) -> None:
        """Carry something through the honest client, there and back."""
        loop = asyncio.get_running_loop()
        data, answer = os.urandom(size), b""
        with socket.socket() as sock:
            sock.setblocking(False)
            await loop.sock_connect(sock, self._local)
            async with asyncio.TaskGroup() as group:
                group.create_task(loop.sock_sendall(sock, data))
                while len(answer) < size:
                    more = await loop.sock_recv(sock, CHUNK)
                    assert more, "an end"
                    answer += more
        assert answer == data
