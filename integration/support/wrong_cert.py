"""Clients that use the cert of another server: the PT takes a minute to say so."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import TYPE_CHECKING

from integration.support.endpoints import connect, connect_through, free_port
from integration.support.machine import await_ss_local, await_ss_server
from integration.support.programs import DEADLINE

if TYPE_CHECKING:
    from integration.support.endpoints import Service
    from integration.support.machine import Machine
    from integration.support.programs import Program

# obfs4proxy gives up after 60 s, and pt-bridge after 90 (SK-11); then a busy machine.
LIMIT = 300.0


class WrongCert:
    """One server with another's place, and two clients that wait for an answer.

    Attributes:
        host: ss-local.
        client: a standalone pt-bridge.
        through_host: the end of the connection through ss-local.
        through_client: the end of the connection through the standalone one.
    """

    def __init__(self, machine: Machine, service: Service) -> None:
        """Start everything; the connections fail by themselves, later."""
        self._machine = machine
        self._service = service
        self._port, self._socks_port = free_port(), free_port()
        right = self._start_server("right")
        options = machine.client_options(right)
        right.stop()
        self._wrong = self._start_server("wrong")
        assert machine.client_options(self._wrong) != options
        self.host = machine.ss_local(self._port, self._socks_port, options)
        await_ss_local(self.host)
        local = ("127.0.0.1", free_port())
        self.client = machine.pt_bridge(
            "client", options, local=local, remote=("127.0.0.1", self._port)
        )
        self.through_host = Attempt(connect_through(self._socks_port, service.address))
        self.through_client = Attempt(connect(local))

    def _start_server(self, state: str) -> Program:
        server = self._machine.ss_server(
            self._port, f"server;transport=obfs4;exec=obfs4proxy;state={state}"
        )
        server.wait_for("ready: ")
        await_ss_server(server)
        return server

    def bring_the_right_server(self) -> None:
        """Replace it by the server whose cert the clients have."""
        self._wrong.stop()
        self._start_server("right")

    def connect(self) -> socket.socket:
        """Connect to the service, through ss-local."""
        return connect_through(self._socks_port, self._service.address)

    def close(self) -> None:
        """Close the connections."""
        self.through_host.close()
        self.through_client.close()


class Attempt:
    """A connection that asks for something, and notes how and when it ends.

    Attributes:
        data: what came.
        reset: whether it ended with a reset.
        seconds: how long it took to end, or None while it has not.
    """

    def __init__(self, sock: socket.socket) -> None:
        """Ask for something."""
        self.data = b""
        self.reset = False
        self.seconds: float | None = None
        self._sock = sock
        self._begun = time.monotonic()
        sock.settimeout(LIMIT)
        sock.sendall(b"GIVE 1000\n")
        self._thread = threading.Thread(target=self._await_end, daemon=True)
        self._thread.start()

    def _await_end(self) -> None:
        try:
            while data := self._sock.recv(1024):
                self.data += data
        except ConnectionResetError:
            self.reset = True
        except OSError:
            return
        self.seconds = time.monotonic() - self._begun

    def wait(self) -> None:
        """Wait until it has ended, or should have."""
        self._thread.join(LIMIT + DEADLINE)

    def close(self) -> None:
        """Close the connection, which ends the thread too."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._sock.close()
