"""A relay on the way to a server, which keeps what it sees there first."""

from __future__ import annotations

import contextlib
import select
import socket
import socketserver
from typing import TYPE_CHECKING

from integration.support.endpoints import CHUNK
from integration.support.in_thread import InThread
from integration.support.programs import DEADLINE

if TYPE_CHECKING:
    from integration.support.endpoints import Address

MOST_KEPT = 4096  # bytes of each connection


class Recorder(InThread):
    """Relays connections.

    Attributes:
        port: where it listens, on 127.0.0.1.
        first: of each connection that carried something, what clients said first.
    """

    def __init__(self, server: Address) -> None:
        """Listen, and relay to a server."""
        super().__init__(_Relayed)
        self.server = server
        self.first: list[bytes] = []
        self.start()


class _Relayed(socketserver.BaseRequestHandler):
    server: Recorder
    request: socket.socket

    def handle(self) -> None:
        try:
            server = socket.create_connection(self.server.server, DEADLINE)
        except OSError:
            return
        with server, contextlib.suppress(OSError):
            self._relay(server)

    def _relay(self, server: socket.socket) -> None:
        number = -1
        peers = {self.request: server, server: self.request}
        open_ones = [self.request, server]
        while open_ones:
            readable, _, _ = select.select(open_ones, [], [], 4 * DEADLINE)
            for sock in readable:
                data = sock.recv(CHUNK)
                if not data:
                    open_ones.remove(sock)
                    peers[sock].shutdown(socket.SHUT_WR)
                    continue
                if sock is self.request:
                    if number < 0:
                        number = len(self.server.first)
                        self.server.first.append(b"")
                    if len(self.server.first[number]) < MOST_KEPT:
                        self.server.first[number] += data
                peers[sock].sendall(data)
            if not readable:
                return
