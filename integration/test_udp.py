"""UDP through the real PTs: every datagram whole, dropped only where a path is full."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import psutil
import pytest

from integration.support.endpoints import connect
from integration.support.programs import DEADLINE, find
from tests.support.child_processes import children

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.support.endpoints import Service
    from integration.support.machine import Machine, Pair

SIZES = [0, 1, 1200, 65_507]
MANY = 200  # associations
PINGS = 5
BUFFER = 1 << 20  # bytes that a socket here may have unread
FLOOD = 4_000  # datagrams of 60,000 bytes, more than a PT takes at once
PTS = ["obfs4proxy", "lyrebird"]


class Echo:
    """A UDP service on a port that TCP's service has, too: it sends everything back.

    Attributes:
        received: how many datagrams have come.
    """

    def __init__(self, address: tuple[str, int]) -> None:
        self._sock = udp_socket()
        self._sock.bind(address)
        self.received = 0
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            data, address = self._sock.recvfrom(70_000)
            if data == b"end":
                return
            self.received += 1
            self._sock.sendto(data, address)

    def close(self) -> None:
        """End it."""
        with udp_socket() as sock:
            sock.sendto(b"end", self._sock.getsockname())
        self._thread.join()
        self._sock.close()


def udp_socket() -> socket.socket:
    """Return a UDP socket that waits no longer than a test does."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    sock.settimeout(DEADLINE)
    return sock


@pytest.fixture
def echo(service: Service) -> Iterator[Echo]:
    """Return a UDP service beside the one for TCP."""
    with contextlib.closing(Echo(service.address)) as echo:
        yield echo


def a_pair(machine: Machine, service: Service, pt: str) -> Pair:
    """Return a client and a server that carry UDP; the server's line says so."""
    return machine.pair(
        service.address,
        server_options=f"transport=obfs4;exec={pt};udp",
        client_options=f";exec={pt}",
        variables=machine.with_lyrebird() if pt == "lyrebird" else None,
    )


def a_program(pair: Pair) -> socket.socket:
    """Return the socket of a program that sends datagrams to the client."""
    sock = udp_socket()
    sock.connect(pair.local)
    return sock


@pytest.mark.parametrize("pt", PTS)
@pytest.mark.usefixtures("echo")
def test_datagrams_of_every_size_come_back_whole(
    machine: Machine, service: Service, pt: str
) -> None:
    """SIP003u; and TCP goes through the same two programs."""
    pair = a_pair(machine, service, pt)
    with a_program(pair) as program:
        for size in SIZES * 3:
            data = os.urandom(size)
            program.send(data)
            assert program.recv(70_000) == data
    with connect(pair.local) as sock:
        sock.sendall(b"ECHO\nx")
        assert sock.recv(1) == b"x"
    for side in (pair.client, pair.server):
        assert side.stop() == 0


@pytest.mark.usefixtures("echo")
def test_many_programs_have_their_own_answers(
    machine: Machine, service: Service
) -> None:
    """Each its association, all over one stream."""
    pair = a_pair(machine, service, PTS[0])
    with contextlib.ExitStack() as stack:
        programs = [stack.enter_context(a_program(pair)) for _ in range(MANY)]
        for number, program in enumerate(programs):
            program.send(b"%d" % number)
        for number, program in enumerate(programs):
            assert program.recv(100) == b"%d" % number


@pytest.mark.parametrize("front", ["", ";front=yes"])
@pytest.mark.usefixtures("echo")
def test_datagrams_go_on_when_a_pt_is_replaced(
    machine: Machine, service: Service, front: str
) -> None:
    """On both sides; what is sent meanwhile may be lost, as UDP allows."""
    pair = machine.pair(
        service.address, server_options=f"transport=obfs4;exec={PTS[0]};udp{front}"
    )
    with a_program(pair) as program:
        program.send(b"before")
        assert program.recv(100) == b"before"
        for side in (pair.client, pair.server):
            said = len(side.output)
            side.signal(signal.SIGUSR2)
            side.wait_for("ready: ", after=said)
            comes_back(program, b"after")
        for side in (pair.client, pair.server):
            side.wait_for("the PT that was replaced has ended")
            comes_back(program, b"at the end")


def comes_back(program: socket.socket, data: bytes) -> None:
    """Send a datagram again and again, until one has come back."""
    program.settimeout(1.0)
    for _ in range(int(DEADLINE)):
        program.send(data)
        with contextlib.suppress(TimeoutError):
            while program.recv(100) != data:
                pass
            break
    else:
        pytest.fail(f"{data!r} never came back")


def test_a_flood_is_dropped_and_tcp_beside_goes_on(
    machine: Machine, service: Service, echo: Echo
) -> None:
    """Nothing queues up in pt-bridge: its memory stays what it was."""
    pair = a_pair(machine, service, PTS[0])
    with a_program(pair) as program, connect(pair.local) as sock:
        sock.sendall(b"ECHO\n")
        program.send(b"first")
        assert program.recv(100) == b"first"
        before = psutil.Process(pair.client.pid).memory_info().rss
        for number in range(FLOOD):
            program.send(bytes(60_000))
            if not number % 100:
                sock.sendall(b"x")
                assert sock.recv(1) == b"x"
        assert psutil.Process(pair.client.pid).memory_info().rss - before < 32 << 20
        assert echo.received <= FLOOD + 1
        # What was on its way comes, and then the path is free again.
        program.send(b"the last")
        program.settimeout(0.5)
        for _ in range(FLOOD):
            try:
                if program.recv(70_000) == b"the last":
                    break
            except TimeoutError:
                program.send(b"the last")
        else:
            pytest.fail("nothing comes through any more")


@pytest.mark.usefixtures("echo")
def test_after_the_pt_has_died_datagrams_go_through_the_next_one(
    machine: Machine, service: Service
) -> None:
    """The local program does nothing for that but send."""
    pair = a_pair(machine, service, PTS[0])
    with a_program(pair) as program:
        program.send(b"1")
        assert program.recv(100) == b"1"
        heard = len(pair.client.output)
        for pt in children(pair.client.pid):
            pt.kill()
        program.settimeout(0.5)
        pair.client.wait_for("ready: ", after=heard)
        for _ in range(int(DEADLINE / 0.5)):
            program.send(b"2")
            with contextlib.suppress(TimeoutError):
                assert program.recv(100) == b"2"
                break
        else:
            pytest.fail("nothing comes through the next PT")


def test_a_server_without_udp_is_told_of_once(
    machine: Machine, service: Service
) -> None:
    """And TCP goes on."""
    pair = machine.pair(service.address, client_options=";exec=obfs4proxy;udp")
    with a_program(pair) as program:
        program.send(b"x")
        pair.client.wait_for("the server carries no UDP")
        program.send(b"x")
    with connect(pair.local) as sock:
        sock.sendall(b"ECHO\nx")
        assert sock.recv(1) == b"x"
    pair.client.stop()
    assert pair.client.text.count("carries no UDP") == 1


WIREGUARD_ADDRESSES = ("10.213.7.1", "10.213.7.2")
SERVE = """
import hashlib, socket
with socket.create_server(("10.213.7.2", 4000)) as server:
    print("listening", flush=True)
    sock, _ = server.accept()
    data = b"".join(iter(lambda: sock.recv(65536), b""))
    sock.sendall(hashlib.sha256(data).hexdigest().encode())
"""
SEND = """
import hashlib, os, socket
data = os.urandom(3_000_000)
with socket.create_connection(("10.213.7.2", 4000), timeout=60) as sock:
    sock.sendall(data)
    sock.shutdown(socket.SHUT_WR)
    digest = hashlib.sha256(data).hexdigest().encode()
    assert sock.recv(64, socket.MSG_WAITALL) == digest
"""


def run(*command: str, given: str = "") -> str:
    """Run a command of iproute2's or WireGuard's; return what it writes."""
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, input=given
    )
    return done.stdout.strip()


@contextlib.contextmanager
def wireguard(number: int, address: str, *settings: str, key: str) -> Iterator[str]:
    """Have a WireGuard interface in a network namespace; return the namespace's name.

    Its UDP socket stays outside, as WireGuard's sockets do.
    """
    space = name = f"ptb{os.getpid() % 100_000}-{number}"
    run(find("ip"), "netns", "add", space)
    try:
        program = subprocess.Popen(
            [find("wireguard-go"), "-f", name], stderr=subprocess.DEVNULL
        )
        try:
            control = f"/var/run/wireguard/{name}.sock"
            for _ in range(int(DEADLINE / 0.1)):
                if os.path.exists(control):
                    break
                with contextlib.suppress(subprocess.TimeoutExpired):
                    program.wait(0.1)
            key_file = ["private-key", "/dev/stdin"]
            run(find("wg"), "set", name, *key_file, *settings, given=key)
            run(find("ip"), "link", "set", name, "netns", space)
            inside = [find("ip"), "-n", space]
            run(*inside, "address", "add", f"{address}/24", "dev", name)
            run(*inside, "link", "set", name, "mtu", "1380", "up")
            yield space
        finally:
            program.terminate()
            program.wait()
    finally:
        run(find("ip"), "netns", "delete", space)


@pytest.mark.skipif(
    os.geteuid() != 0 or not os.path.exists("/dev/net/tun"),
    reason="network namespaces and tunnels are root's",
)
def test_wireguard_goes_through(machine: Machine, service: Service) -> None:
    """The real one, in Go, between two network namespaces of the test's own."""
    pair = a_pair(machine, service, PTS[0])
    keys = [run(find("wg"), "genkey") for _ in range(2)]
    public = [run(find("wg"), "pubkey", given=key) for key in keys]
    near, far = WIREGUARD_ADDRESSES
    port = str(service.address[1])
    endpoint = f"{pair.local[0]}:{pair.local[1]}"
    to_far = ("peer", public[1], "allowed-ips", f"{far}/32", "endpoint", endpoint)
    to_near = ("listen-port", port, "peer", public[0], "allowed-ips", f"{near}/32")
    with (
        wireguard(1, near, *to_far, key=keys[0]) as client,
        wireguard(2, far, *to_near, key=keys[1]) as server,
    ):
        within = [find("ip"), "netns", "exec"]
        with subprocess.Popen(
            [*within, server, sys.executable, "-c", SERVE], stdout=subprocess.PIPE
        ) as serving:
            assert serving.stdout is not None
            assert serving.stdout.readline() == b"listening\n"
            run(*within, client, sys.executable, "-c", SEND)
            assert serving.wait() == 0
