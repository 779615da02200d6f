"""Three servers, of which two at a time do not answer, carry every connection.

They are killed, stopped, or lose all their packets, in a network of the test's own.

With more connections, by hand::

    PT_BRIDGE_WAYS=5000 scripts/test integration/test_ways.py
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import socketserver
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import psutil
import pytest

from integration.support.endpoints import connect, free_port
from integration.support.faults import Wire
from integration.support.internet import Site

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from integration.support.endpoints import Address
    from integration.support.machine import Machine
    from integration.support.programs import Program

CONNECTIONS = int(os.environ.get("PT_BRIDGE_WAYS", "180"))
AT_ONCE = 6
ANSWER = 20_000  # bytes
REQUEST = 16  # bytes, of which no two are the same
SOON = 5.0  # seconds, in which all but one of a thousand have their answer
# The transport of each server, and its program.
SERVERS = (("obfs4", "obfs4proxy"), ("obfs4", "lyrebird"), ("obfs3", "obfs4proxy"))
LOSS = "its packets are lost"
WAYS_TO_FAIL: tuple[signal.Signals | str, ...] = (signal.SIGSTOP, LOSS, signal.SIGKILL)
ROUNDS = [(kept, how) for how in WAYS_TO_FAIL for kept in (1, 2, 0)]


def answer_to(request: bytes) -> bytes:
    """Return what the service says to a request."""
    return hashlib.shake_128(request).digest(ANSWER)


class CountingService(socketserver.ThreadingTCPServer):
    """Answers each request, and counts how often it has heard it.

    Attributes:
        heard: how often, for each request.
    """

    allow_reuse_address = daemon_threads = True
    request_queue_size = 256

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.heard: Counter[bytes] = Counter()
        self._thread = threading.Thread(target=self.serve_forever)
        self._thread.start()

    def close(self) -> None:
        """End it."""
        self.shutdown()
        self._thread.join()
        self.server_close()


class _Answer(socketserver.StreamRequestHandler):
    server: CountingService

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            request = self.rfile.read(REQUEST)
            if len(request) == REQUEST:
                self.server.heard[request] += 1
                self.connection.sendall(answer_to(request))


class Server:
    """One of the servers, which can be ended, or stopped, and brought back."""

    def __init__(
        self, machine: Machine, number: int, service: Address, wire: Wire
    ) -> None:
        self._wire, self._is_lost = wire, False
        self._machine, self._number, self._service = machine, number, service
        self._transport, self._name = SERVERS[number]
        self._port = free_port()
        self._start()
        options = machine.client_options(self._program)
        values = [each for each in options.split(";") if each[:4] in ("cert", "iat-")]
        words = (self._transport, f"127.0.0.1:{self._port}", *values)
        self.line = " ".join(words)

    def _start(self) -> None:
        self._program: Program = self._machine.pt_bridge(
            "server",
            f"transport={self._transport};exec={self._name};state=server-{self._number}",
            local=self._service,
            remote=("127.0.0.1", self._port),
            variables=self._machine.with_lyrebird(),
        )
        self._program.wait_for("ready: ")

    def _processes(self) -> list[psutil.Process]:
        process = psutil.Process(self._program.pid)
        return [process, *process.children(recursive=True)]

    def disturb(self, how: signal.Signals | str) -> None:
        """Stop it and its PT, or kill both, or lose all packets of its port."""
        if isinstance(how, str):
            self._wire.lose(self._port)
            self._is_lost = True
            return
        for process in self._processes():
            process.send_signal(how)
        if how == signal.SIGKILL:
            self._program.wait()

    def recover(self) -> None:
        """Have it serve again."""
        if self._is_lost:
            self._wire.carry(self._port)
            self._is_lost = False
        if not self._program.runs:
            self._start()
            return
        for process in self._processes():
            process.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def counting_service() -> Iterator[CountingService]:
    """Have a service for a while."""
    service = CountingService()
    try:
        yield service
    finally:
        service.close()


def ask(client: Address) -> float:
    """Carry one request, see its answer, and return how long it took (seconds)."""
    request, began = os.urandom(REQUEST), time.monotonic()
    with connect(client) as sock:
        sock.sendall(request)
        answer = b""
        while more := sock.recv(65536):
            answer += more
    assert answer == answer_to(request)
    return time.monotonic() - began


@pytest.fixture
def wire(tmp_path: Path) -> Iterator[Wire]:
    """Be in a network that nobody else is in; return what cuts it."""
    for name in ("hosts", "resolv.conf"):
        (tmp_path / name).write_text("127.0.0.1 localhost\n" * (name == "hosts"))
    with contextlib.closing(Site(tmp_path)) as site:
        site.set_up()
        with site.inside():
            yield Wire(site)


def test_the_port_works_as_long_as_one_way_does(
    wire: Wire, machine: Machine, record_property: Callable[[str, object], None]
) -> None:
    """No connection fails, and the service hears none twice."""
    with counting_service() as service:
        place = ("127.0.0.1", service.server_address[1])
        servers = [
            Server(machine, number, place, wire) for number in range(len(SERVERS))
        ]
        lines = ";".join(f"bridge={server.line}" for server in servers)
        local = ("127.0.0.1", free_port())
        client = machine.pt_bridge(
            "client",
            f"session=1;{lines}",
            local=local,
            remote=("192.0.2.1", 9),  # the lines have their own addresses
        )
        client.wait_for("ready: ")
        took: list[float] = []
        with ThreadPoolExecutor(AT_ONCE) as threads:
            for kept, how in ROUNDS:
                for server in servers:
                    server.recover()
                for number, server in enumerate(servers):
                    if number != kept:
                        server.disturb(how)
                number = CONNECTIONS // len(ROUNDS)
                took += threads.map(ask, [local] * number)
        for server in servers:
            server.recover()
        took.sort()
        told = {
            "connections": len(took),
            "median": f"{took[len(took) // 2]:.3f}",
            "99.9 %": f"{took[len(took) * 999 // 1000]:.2f}",
            "longest": f"{took[-1]:.2f}",
            "heard twice": sum(each > 1 for each in service.heard.values()),
        }
        record_property("ways", told)
        print(told)  # noqa: T201
        assert len(took) == len(service.heard)
        assert set(service.heard.values()) == {1}
        assert sum(each > SOON for each in took) <= max(1, len(took) // 1000)
        client.signal(signal.SIGUSR1)
        client.wait_for("way 1 of 3 (obfs4): worked last")
