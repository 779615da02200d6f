"""Datagrams from a local program through both sides of the session, and back.

::

    program ── UDP ── client ── Line, the PT ── server ── UDP ── service
"""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

from pt_bridge.pool.datagram_carrier import DatagramCarrier
from pt_bridge.protocol.address import Address
from pt_bridge.udp.client import UdpClient
from pt_bridge.udp.server import UdpServer
from pt_bridge.udp.sockets import prepare
from pt_bridge.udp.stream import DatagramStream
from tests.support.rig import PATIENCE, rig
from tests.support.tcp import turn_until

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator

    from tests.support.rig import Rig

MOST = 70_000  # bytes that are read of a datagram


def udp_socket() -> socket.socket:
    """Return a UDP socket on loopback, at a port of its own."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    prepare(sock)
    return sock


def received(sock: socket.socket) -> list[bytes]:
    """Return the datagrams that have come."""
    found = []
    with contextlib.suppress(BlockingIOError):
        while True:
            found.append(sock.recv(MOST))
    return found


async def receive(sock: socket.socket) -> bytes:
    """Wait for a datagram."""
    found: list[bytes] = []

    def has_come() -> bool:
        with contextlib.suppress(BlockingIOError):
            found.append(sock.recv(MOST))
        return bool(found)

    await turn_until(has_come)
    return found[0]


class UdpRig:
    """A rig with UDP.

    Attributes:
        rig: both sides, and the PT.
        client, server: what carries datagrams on each.
        service: where they go to, the test's.
        port, other_port: where local programs send them.
        ended: how many streams of the client's have.
        failures: what the server could not hand over.
    """

    def __init__(self, r: Rig, server: UdpServer, service: socket.socket) -> None:
        self.rig, self.server, self.service = r, server, service
        socks = [udp_socket(), udp_socket()]
        self.port, self.other_port = (sock.getsockname()[1] for sock in socks)
        self._stack = contextlib.ExitStack()
        loop = r.clock.as_loop
        self.ended = 0
        carrier = DatagramCarrier(loop, r.client, r.dial, PATIENCE)
        self.client = UdpClient(loop, socks, carrier, on_ended=self._on_ended)
        self._stack.enter_context(self.client)
        self.failures: list[OSError] = []

    def _on_ended(self) -> None:
        self.ended += 1

    def program(self, port: int = 0) -> socket.socket:
        """Return a local program's socket, which sends to `port` or another one."""
        sock = self._stack.enter_context(udp_socket())
        sock.connect(("127.0.0.1", port or self.port))
        return sock

    async def hear(self, data: bytes) -> tuple[str, int]:
        """Wait for a datagram at the service; return where an answer goes."""
        found: list[tuple[bytes, tuple[str, int]]] = []

        def has_come() -> bool:
            with contextlib.suppress(BlockingIOError):
                found.append(self.service.recvfrom(MOST))
            return bool(found)

        await turn_until(has_come)
        assert found[0][0] == data
        return found[0][1]

    @property
    def stream(self) -> DatagramStream:
        """The client's one stream."""
        (stream,) = self.rig.client.streams
        assert isinstance(stream, DatagramStream)
        return stream

    @property
    def server_stream(self) -> DatagramStream:
        """The server's one stream."""
        (stream,) = self.rig.server.streams
        assert isinstance(stream, DatagramStream)
        return stream

    async def settle(self) -> None:
        """Wait until both sides have the stream."""
        await turn_until(lambda: self.rig.client.streams and self.rig.server.streams)
        await turn_until(lambda: self.stream.kept is None)

    def close(self) -> None:
        """Close the client's port, and all programs."""
        self._stack.close()


@contextlib.contextmanager
def udp_rig(*, most: int = 100, listens: bool = True) -> Iterator[UdpRig]:
    """Build a rig with UDP, and take it down again.

    Args:
        most: how many associations the server has at most.
        listens: whether there is a service.
    """
    servers: list[UdpServer] = []
    failures: list[OSError] = []
    with udp_socket() as service:
        address = Address(*service.getsockname())
        if not listens:
            service.close()

        def server(loop: asyncio.AbstractEventLoop) -> UdpServer:
            servers.append(
                UdpServer(
                    loop, lambda: address, budget=4 * most, on_failed=failures.append
                )
            )
            return servers[0]

        with rig(udp=server) as r:
            built = UdpRig(r, servers[0], service)
            built.failures = failures
            try:
                yield built
            finally:
                r.client.cut()
                built.close()
