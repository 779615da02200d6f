"""Both ends of a tunnel: the service behind it, the connections through it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import queue
import random
import select
import socket
import socketserver
import threading
import time
from typing import TYPE_CHECKING, cast

import socks  # type: ignore[import-untyped]

from integration.support.in_thread import InThread
from integration.support.programs import DEADLINE, RETRY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Address = tuple[str, int]

MIB = 1024 * 1024
CHUNK = 64 * 1024
# Not among those that the kernel gives to connections, so nobody takes them meanwhile.
# Where workers share the tests (pytest-xdist), each has ports of its own; and so has a
# program of ours beside them that is given this variable, with the first of 500.
FIRST_PORT = "FIRST_PORT_OF_TEST"
OTHERS_PORTS = range(31_000, 32_000, 500)
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_FIRST = int(os.environ.get(FIRST_PORT, "0"))
PORTS = (
    range(_FIRST, _FIRST + OTHERS_PORTS.step)
    if _FIRST
    else range(15_000 + _WORKER, OTHERS_PORTS.start, _WORKERS)
)

_ports_given: set[int] = set()
_giving = threading.Lock()


def free_port() -> int:
    """Return a port that nothing listens on, another one each time."""
    with _giving:
        for port in random.SystemRandom().sample(PORTS, 200):
            if port not in _ports_given and _is_free(port):
                _ports_given.add(port)
                return port
    raise AssertionError("no port is free")


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET6) as sock:  # IPv4 too
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        try:
            sock.bind(("::", port))
        except OSError:
            return False
    return True


def payload(size: int) -> Iterator[bytes]:
    """Return bytes that do not repeat, the same for the same size."""
    source = random.Random(size)  # noqa: S311 - no secret
    while size > 0:
        yield source.randbytes(min(size, MIB))
        size -= MIB


def digest(size: int) -> str:
    """Return the SHA-256 of a payload."""
    whole = hashlib.sha256()
    for chunk in payload(size):
        whole.update(chunk)
    return whole.hexdigest()


class Service(InThread):
    """What stands behind the tunnels; a connection's first line says what it wants.

    ====== =====================================================
    ECHO   everything back, until the end
    GIVE n a payload of n bytes, and the end
    HALF n the same, but the second half not before `answer` is set
    KEEP   reads to the end, and notes in `kept` how much it was, and its SHA-256
    LATE n the same as GIVE, but not before `answer` is set
    TAKE n reads n bytes, answers with their SHA-256 and a LF
    ====== =====================================================
    """

    def __init__(self) -> None:
        """Listen on a port of 127.0.0.1."""
        super().__init__(_Conversation)
        self.answer = threading.Event()
        self.kept: queue.SimpleQueue[tuple[int, str]] = queue.SimpleQueue()
        self.start()

    def handle_error(
        self,
        request: socket.socket | tuple[bytes, socket.socket],
        client_address: object,
    ) -> None:
        """Be silent: tests cut connections, and look at what comes through."""

    def close(self) -> None:
        """Stop listening, and wait for the conversations to end."""
        self.answer.set()
        super().close()


class _Conversation(socketserver.StreamRequestHandler):
    server: Service
    timeout = 4 * DEADLINE

    def handle(self) -> None:
        command, *numbers = self.rfile.readline().split() or [b""]
        match command:
            case b"ECHO":
                while data := self.rfile.read1(CHUNK):
                    self.wfile.write(data)
            case b"GIVE":
                self._give(int(numbers[0]))
            case b"HALF":
                whole = b"".join(payload(int(numbers[0])))
                self.wfile.write(whole[: len(whole) // 2])
                self.server.answer.wait(DEADLINE)
                self.wfile.write(whole[len(whole) // 2 :])
            case b"KEEP":
                self._keep()
            case b"LATE":
                self.server.answer.wait(DEADLINE)
                self._give(int(numbers[0]))
            case b"TAKE":
                self._take(int(numbers[0]))

    def _keep(self) -> None:
        size, whole = 0, hashlib.sha256()
        while data := self.rfile.read1(CHUNK):
            size += len(data)
            whole.update(data)
        self.server.kept.put((size, whole.hexdigest()))

    def _take(self, size: int) -> None:
        whole = hashlib.sha256()
        while size and (data := self.rfile.read1(min(size, CHUNK))):
            size -= len(data)
            whole.update(data)
        self.wfile.write(whole.hexdigest().encode() + b"\n")

    def _give(self, size: int) -> None:
        for chunk in payload(size):
            self.wfile.write(chunk)


class SocksProxy(InThread):
    """A SOCKS5 proxy with a user name and a password (RFC 1928, RFC 1929).

    Attributes:
        targets: where it was asked to connect to.
        carried: the bytes that went through it, both ways.
    """

    def __init__(self, user: str, password: str) -> None:
        """Listen on a port of 127.0.0.1."""
        super().__init__(_Proxied)
        self.credentials = (user.encode(), password.encode())
        self.targets: list[Address] = []
        self.carried = 0
        self.start()


class _Proxied(socketserver.StreamRequestHandler):
    server: SocksProxy
    rbufsize = 0
    timeout = 4 * DEADLINE

    def handle(self) -> None:
        _, methods = self._read(2)
        assert 2 in self._read(methods)
        self.wfile.write(b"\x05\x02")
        _, length = self._read(2)
        user = self._read(length)
        password = self._read(self._read(1)[0])
        if (user, password) != self.server.credentials:
            self.wfile.write(b"\x01\x01")
            return
        self.wfile.write(b"\x01\x00")
        _, _, _, kind = self._read(4)
        assert kind == 1  # the tests give it IPv4 addresses
        host = socket.inet_ntoa(self._read(4))
        port = int.from_bytes(self._read(2), "big")
        self.server.targets.append((host, port))
        with socket.create_connection((host, port), DEADLINE) as far:
            self.wfile.write(b"\x05\x00\x00\x01" + bytes(6))
            self._relay(far)

    def _read(self, number: int) -> bytes:
        data = b""
        while len(data) < number:
            more = self.rfile.read(number - len(data))
            assert more, "the connection ended during the handshake"
            data += more
        return data

    def _relay(self, far: socket.socket) -> None:
        peers = {self.connection: far, far: self.connection}
        while True:
            readable, _, _ = select.select(list(peers), [], [], self.timeout)
            for sock in readable:
                data = b""
                with contextlib.suppress(ConnectionError):
                    data = sock.recv(CHUNK)
                if not data:
                    return
                self.server.carried += len(data)
                with contextlib.suppress(ConnectionError):
                    peers[sock].sendall(data)


def connect(address: Address) -> socket.socket:
    """Connect, however long the port takes to be there."""
    until = time.monotonic() + DEADLINE
    while True:
        try:
            return socket.create_connection(address, DEADLINE)
        except (ConnectionRefusedError, ConnectionResetError):
            # Reset, where whoever listens is just ending.
            assert time.monotonic() < until, f"nothing listens on {address}"
            select.select([], [], [], RETRY)


def connect_through(socks_port: int, target: Address) -> socket.socket:
    """Connect through ss-local's SOCKS5 port."""
    sock = socks.create_connection(
        target,
        DEADLINE,
        proxy_type=socks.SOCKS5,
        proxy_addr="127.0.0.1",
        proxy_port=socks_port,
    )
    return cast("socket.socket", sock)


def read(sock: socket.socket, size: int) -> str:
    """Read so many bytes, and no more; return their SHA-256."""
    whole = hashlib.sha256()
    while size:
        data = sock.recv(min(size, CHUNK))
        assert data, f"the connection ended {size} bytes too early"
        size -= len(data)
        whole.update(data)
    return whole.hexdigest()


def read_to_end(sock: socket.socket) -> tuple[int, str]:
    """Read until the connection ends; return the number of bytes and their SHA-256."""
    size, whole = 0, hashlib.sha256()
    while data := sock.recv(CHUNK):
        size += len(data)
        whole.update(data)
    return size, whole.hexdigest()


def download(sock: socket.socket, size: int) -> str:
    """Ask the service for a payload; return the SHA-256 of what came."""
    sock.sendall(b"GIVE %d\n" % size)
    return read(sock, size)


def upload(sock: socket.socket, size: int) -> str:
    """Return the service a payload; return the SHA-256 of what it says it got."""
    sock.sendall(b"TAKE %d\n" % size)
    for chunk in payload(size):
        sock.sendall(chunk)
    answer = b""
    while not answer.endswith(b"\n"):
        data = sock.recv(CHUNK)
        assert data, "the connection ended before the answer"
        answer += data
    return answer.decode().strip()


def assert_carries(connect: Callable[[], socket.socket]) -> None:
    """Check that content comes whole, each way over a connection of its own.

    Args:
        connect: returns another connection to a `Service`.
    """
    with connect() as sock:
        assert upload(sock, MIB) == digest(MIB)
    with connect() as sock:
        assert download(sock, MIB) == digest(MIB)


def read_until_reset(sock: socket.socket) -> bool:
    """Read until the connection ends; return whether that was a reset."""
    try:
        read_to_end(sock)
    except ConnectionResetError:
        return True
    return False
