"""A tunnel whose outer ends are both a test's: what goes in is known at every byte."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import select
import socket
from typing import TYPE_CHECKING, NamedTuple

import pt_bridge.net.sockets
from chaos.content import CHUNK, content, is_right
from chaos.remains import descriptors
from chaos.stage import LAST_LINES, bridge, pt
from integration.support.programs import wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    import psutil

    from integration.support.endpoints import Address
    from integration.support.machine import Machine
    from integration.support.programs import Program

# What begins a stream from the client, so that nobody is taken for another one.
NUMBER_LENGTH = 8
# Bytes; the kernel doubles it. It waits by itself where a packet of loopback is larger
# than the window.
SMALL_BUFFER = 64 * 1024
ROUND_TRIP = 100_000  # bytes
# How soon all that is held for tunnels is free again once they have ended (seconds):
# less than any `linger`, or the time that a peer has to take what it was sent.
FREED = 5.0
SIDES = ("client", "server")


class Wrong(AssertionError):
    """Something else came than what had to come."""


class End:
    """One outer end of a tunnel.

    Attributes:
        sent: how many bytes it has sent.
        received: how many it has received; all of them were right.
    """

    def __init__(
        self, name: str, sock: socket.socket, sends: int, receives: int
    ) -> None:
        """Take a connection; it is closed by the tunnel.

        Args:
            name: what it is called.
            sock: the connection.
            sends: the number of the stream that it sends.
            receives: the number of the stream that it receives.
        """
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._name = name
        self._sock = sock
        self._sends = sends
        self._receives = receives
        self.sent = 0
        self.received = 0

    async def send(self, size: int) -> None:
        """Send so many bytes.

        Raises:
            Wrong: nobody takes them.
        """
        until = self.sent + size
        try:
            while self.sent < until:
                await self._send(min(CHUNK, until - self.sent))
        except ConnectionError as error:
            raise self._wrong(
                f"sends no more than {self.sent} bytes: {error}"
            ) from None

    async def send_until_refused(self) -> None:
        """Send on and on, until nobody takes it."""
        with contextlib.suppress(ConnectionError):
            while True:
                await self._send(CHUNK)

    async def _send(self, size: int) -> None:
        data = content(self._sends, self.sent, size)
        await asyncio.get_running_loop().sock_sendall(self._sock, data)
        self.sent += size
        await asyncio.sleep(0)  # the others have their turn, too

    async def receive(self, size: int) -> None:
        """Receive so many bytes.

        Raises:
            Wrong: they are others, or the connection ends before.
        """
        until = self.received + size
        while self.received < until:
            if not await self._receive(until - self.received):
                raise self._wrong(f"gets an end after {self.received} of {until} bytes")

    async def receive_end(self, size: int = 0) -> None:
        """Receive so many bytes, and the end.

        Raises:
            Wrong: they are others, or more or fewer.
        """
        await self.receive(size)
        if await self._receive(1):
            raise self._wrong(f"gets more than {self.received - 1} bytes")

    async def receive_reset(self) -> None:
        """Receive whatever comes before a reset.

        Raises:
            Wrong: an end comes instead, or other bytes than the right ones.
        """
        with contextlib.suppress(_Reset):
            while await self._receive(CHUNK):
                pass
            raise self._wrong(f"gets an end after {self.received} bytes, no reset")

    async def receive_any_end(self) -> None:
        """Receive whatever comes before an end or a reset.

        Raises:
            Wrong: there are other bytes than the right ones.
        """
        with contextlib.suppress(_Reset):
            while await self._receive(CHUNK):
                pass

    async def _receive(self, most: int) -> int:
        """Receive some bytes; return their number, 0 for the end."""
        loop = asyncio.get_running_loop()
        try:
            data = await loop.sock_recv(self._sock, min(most, CHUNK))
        except ConnectionResetError:
            text = f"{self._name} gets a reset after {self.received} bytes"
            raise _Reset(text) from None
        if not is_right(data, self._receives, self.received):
            raise self._wrong(f"gets wrong bytes after {self.received} right ones")
        self.received += len(data)
        return len(data)

    def _wrong(self, what: str) -> Wrong:
        return Wrong(f"{self._name} {what}")

    def be_slow(self) -> None:
        """Shrink the buffer for what is not yet read."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)

    def half_close(self) -> None:
        """Send the end."""
        self._sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close for good."""
        self._sock.close()

    def reset(self) -> None:
        """Close with a reset."""
        pt_bridge.net.sockets.reset(self._sock)


class _Reset(Wrong):
    """A reset came; wrong, unless it is what had to come."""


class Tunnel:
    """Two ends.

    Attributes:
        client: the one that is connected to ``pt-bridge client``.
        server: the one that ``pt-bridge server`` has connected to.
    """

    def __init__(
        self, client: socket.socket, server: socket.socket, number: int
    ) -> None:
        """Take both.

        Args:
            client: the client's connection.
            server: the server's.
            number: the tunnel's.
        """
        self.client = End(
            "the client", client, sends=2 * number, receives=2 * number + 1
        )
        self.server = End(
            "the server", server, sends=2 * number + 1, receives=2 * number
        )

    def close(self) -> None:
        """Close both, unless that was done."""
        self.client.close()
        self.server.close()


class Folders(NamedTuple):
    """Where each side finds programs before it looks elsewhere; "" is nowhere.

    Attributes:
        client: for the client.
        server: for the server.
    """

    client: str = ""
    server: str = ""


NO_FOLDERS = Folders()


def _with_folder(machine: Machine, folder: str) -> dict[str, str]:
    variables = machine.with_lyrebird()
    if folder:
        variables["PATH"] = os.pathsep.join([folder, variables["PATH"]])
    return variables


class Line:
    """``pt-bridge client`` and ``pt-bridge server``, with the test at both ends."""

    def __init__(
        self,
        machine: Machine,
        *,
        server_options: str,
        client_options: str | Callable[[str], str],
        remote: Address | None = None,
        folders: Folders = NO_FOLDERS,
    ) -> None:
        """Start both, and wait until they are ready.

        Args:
            machine: where.
            server_options: the server's plugin options.
            client_options: added to what the server says that clients must use, or
                what makes the client's options of that.
            remote: where the server listens, if that matters.
            folders: where each finds its PT first.
        """
        self._service = socket.create_server(("127.0.0.1", 0), backlog=512)
        self._service.setblocking(False)
        self._numbers = itertools.count(1)
        self._opening = asyncio.Lock()
        self._gate: asyncio.Barrier | None = None
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._service)
            self._pair = machine.pair(
                self._service.getsockname(),
                server_options=server_options,
                client_options=client_options,
                remote=remote,
                variables=_with_folder(machine, folders.client),
                server_variables=_with_folder(machine, folders.server),
            )
            self.remains = Remains(self.client, self.server)
            stack.pop_all()

    @property
    def client(self) -> Program:
        """``pt-bridge client``."""
        return self._pair.client

    @property
    def server(self) -> Program:
        """``pt-bridge server``."""
        return self._pair.server

    @property
    def local(self) -> Address:
        """Where the client listens."""
        return self._pair.local

    @property
    def remote(self) -> Address:
        """Where the server listens."""
        return self._pair.remote

    @property
    def said(self) -> str:
        """What both have said last."""
        return "\n".join(
            [
                *("the client:", *self.client.output[-LAST_LINES:]),
                *("the server:", *self.server.output[-LAST_LINES:]),
            ]
        )

    @property
    def is_awaited(self) -> bool:
        """Whether somebody has reached the service whom nobody has accepted yet."""
        return bool(select.select([self._service], [], [], 0)[0])

    def close(self) -> None:
        """Take no connection any more; the machine ends the programs."""
        self._service.close()

    @contextlib.asynccontextmanager
    async def tunnel(self, *, is_silent: bool = False) -> AsyncIterator[Tunnel]:
        """Open a tunnel, which both ends know of.

        Args:
            is_silent: the client sends nothing; else some bytes that its stream has
                not, which the server has read.
        """
        number = next(self._numbers)
        async with self._opening:
            tunnel = await self._open(number, is_silent=is_silent)
        try:
            if self._gate is not None:
                await self._gate.wait()
                self._gate = None
            yield tunnel
        finally:
            tunnel.close()

    def gather(self, count: int) -> None:
        """Make the next tunnels wait for each other, once open; then all go on."""
        self._gate = asyncio.Barrier(count)

    async def _open(self, number: int, *, is_silent: bool) -> Tunnel:
        loop = asyncio.get_running_loop()
        greeting = b"" if is_silent else number.to_bytes(NUMBER_LENGTH, "big")
        with contextlib.ExitStack() as stack:
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            await loop.sock_connect(client, self._pair.local)
            await loop.sock_sendall(client, greeting)
            server, received = await self._accept(len(greeting))
            stack.enter_context(server)
            assert received == greeting, f"an old tunnel came late: {received.hex()}"
            stack.pop_all()
        return Tunnel(client, server, number)

    async def _accept(self, size: int) -> tuple[socket.socket, bytes]:
        """Return the service's next connection, and its first bytes.

        Where a connection between the PTs ended while the service was being reached for
        it, the service sees a reset before any byte, and then the next try.
        """
        loop = asyncio.get_running_loop()
        received = b""
        with contextlib.ExitStack() as stack:
            server, _ = await loop.sock_accept(self._service)
            stack.enter_context(server)
            try:
                while len(received) < size:
                    some = await loop.sock_recv(server, size - len(received))
                    assert some, "the tunnel ended at once"
                    received += some
            except ConnectionResetError:
                assert not received, "the tunnel was reset at once"
            else:
                stack.pop_all()
                return server, received
        return await self._accept(size)

    async def others_work(self) -> None:
        """Open another tunnel, carry something both ways, and close it.

        Until then, whatever can happen without the reader that waits has happened.
        """
        async with self.tunnel() as tunnel, asyncio.TaskGroup() as group:
            group.create_task(tunnel.client.send(ROUND_TRIP))
            group.create_task(tunnel.server.send(ROUND_TRIP))
            group.create_task(tunnel.client.receive(ROUND_TRIP))
            group.create_task(tunnel.server.receive(ROUND_TRIP))


class Remains:
    """The sockets of a client, of a server and of their PTs, as they were at first."""

    def __init__(self, client: Program, server: Program) -> None:
        """Look at programs that are at rest, each a pt-bridge or the host of one."""
        self._programs = {"client": client, "server": server}
        self._at_rest = self._sockets()

    def _processes(self, of: Sequence[str]) -> Iterator[tuple[str, psutil.Process]]:
        for side in of:
            program = self._programs[side]
            yield f"the {side}", bridge(program)
            yield f"the {side}'s PT", pt(program)

    def _sockets(self, of: Sequence[str] = SIDES) -> dict[str, int]:
        return {name: descriptors(it)["socket"] for name, it in self._processes(of)}

    def surplus(self, *, of: Sequence[str] = SIDES) -> dict[str, int]:
        """Return how many sockets there are more than at first, and where.

        Args:
            of: which sides to look at.
        """
        return {
            name: now - self._at_rest[name]
            for name, now in self._sockets(of).items()
            if now > self._at_rest[name]
        }

    def vanish(self) -> None:
        """Wait until there are no more sockets than at first."""
        surplus = {"": 1}

        def is_none() -> bool:
            nonlocal surplus
            surplus = self.surplus()
            return not surplus

        try:
            wait_until(is_none, "the sockets of tunnels that have ended", within=FREED)
        except AssertionError as error:
            raise AssertionError(f"{error}; left: {surplus}") from None
