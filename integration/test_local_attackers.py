"""Other users of the machine at our loopback ports, and what they do not get there.

Those that count are the inner ones: where a PT calls back (the Extended ORPort), and
where it listens itself (its SOCKS port, and the server's own behind a front). Through
its SOCKS port a neighbour gets what any client gets, if it knows the server's line. The
neighbour is another user for real: a process that has given up to
be root.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import itertools
import os
import secrets
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from chaos.stage import bridge
from chaos.stage import pt as pt_below
from integration.support.endpoints import free_port
from integration.support.ends import Line
from integration.support.machine import NOBODY, Machine
from integration.support.programs import DEADLINE, wait_until
from pt_bridge.listen.loopback_server import MAX_CALLERS
from pt_bridge.protocol import ext_orport

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

    from integration.support.programs import Program

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root can play another user of the machine"
)

# More than a callback has in a handshake at once, and as much as it may have waiting.
CROWD = MAX_CALLERS + 100
# The kernel passes no more descriptors at once (SCM_MAX_FD).
PASSED_AT_ONCE = 200
# A crowd of our own user is shown out by its patience; PTs wait for five seconds.
OPENS_WITHIN = 60.0
# Gives connections to its standard input, which is a socket. It becomes the other user
# in here, since that one may not even be allowed to read our interpreter.
NEIGHBOUR = """
import os, socket, sys
user, port, number, batch, source = sys.argv[1:6]
os.setgroups([]); os.setgid(int(user)); os.setuid(int(user))
home = socket.socket(fileno=0)
left = int(number)
while left:
    socks = []
    for _ in range(min(left, int(batch))):
        sock = socket.socket()
        if source:
            host, _, own = source.rpartition(":")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((host, int(own)))
        sock.connect(("127.0.0.1", int(port)))
        socks.append(sock)
    socket.send_fds(home, [b"x"], [sock.fileno() for sock in socks])
    for sock in socks:
        sock.close()
    left -= len(socks)
"""


@contextlib.contextmanager
def connections(
    port: int, *, user: int = NOBODY, number: int = 1, source: str = ""
) -> Iterator[list[socket.socket]]:
    """Return connections to a port of 127.0.0.1 that another user has made.

    Args:
        port: the port.
        user: who makes them.
        number: how many.
        source: from where, ``HOST:PORT``.
    """
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-I", "-S", "-c", NEIGHBOUR, str(user), str(port)]
    command += [str(number), str(PASSED_AT_ONCE), source]
    with contextlib.ExitStack() as stack:
        stack.enter_context(ours)
        neighbour = stack.enter_context(
            subprocess.Popen(command, stdin=theirs.fileno())
        )
        theirs.close()
        socks: list[socket.socket] = []
        ours.settimeout(DEADLINE)
        while len(socks) < number:
            data, descriptors, _, _ = socket.recv_fds(ours, 1, PASSED_AT_ONCE)
            assert data, "the neighbour has failed"
            for descriptor in descriptors:
                sock = stack.enter_context(socket.socket(fileno=descriptor))
                sock.settimeout(DEADLINE)
                socks.append(sock)
        assert neighbour.wait(DEADLINE) == 0
        yield socks


def heard(sock: socket.socket) -> bytes:
    """Read until a connection is over, however it ends."""
    data = b""
    with contextlib.suppress(ConnectionError):
        while more := sock.recv(4096):
            data += more
    return data


def say(sock: socket.socket, words: bytes) -> None:
    """Say something to whoever may have hung up."""
    with contextlib.suppress(ConnectionError):
        sock.sendall(words)


def ports(process: psutil.Process) -> set[int]:
    """Return the ports that a process listens on."""
    return {
        each.laddr.port
        for each in process.net_connections("tcp")
        if each.status == psutil.CONN_LISTEN
    }


class Street:
    """A line whose inner ports are known.

    Attributes:
        line: the line.
        inner: the ports, by what they are.
    """

    def __init__(self, machine: Machine) -> None:
        """Start it."""
        self.line = Line(
            machine,
            server_options="transport=obfs4;exec=obfs4proxy;front=yes",
            client_options=";exec=obfs4proxy",
        )
        self.options = machine.client_options(self.line.server)
        self._runner = asyncio.Runner()
        self.inner = {
            "the Extended ORPort": self._callback(self.line.server),
            "the PT's SOCKS port": self._pts_own(self.line.client),
            "the PT server's port": self._pts_own(self.line.server),
        }

    def _callback(self, program: Program) -> int:
        inner = ports(bridge(program)) - {self.line.local[1], self.line.remote[1]}
        (port,) = inner
        return port

    def _pts_own(self, program: Program) -> int:
        (port,) = ports(pt_below(program))
        return port

    def callers(self) -> set[tuple[int, int]]:
        """Return from which port to which somebody is connected to the programs."""
        return {
            (each.raddr.port, each.laddr.port)
            for program in (self.line.client, self.line.server)
            for process in (bridge(program), pt_below(program))
            for each in process.net_connections("tcp")
            if each.status != psutil.CONN_LISTEN
        }

    def run(self, what: Coroutine[object, object, None], within: float) -> None:
        """Do something within so many seconds."""

        async def do() -> None:
            async with asyncio.timeout(within):
                await what

        self._runner.run(do())

    def works(self) -> None:
        """Carry something both ways, soon."""
        self.run(self.line.others_work(), OPENS_WITHIN)

    def nobody_came(self) -> None:
        """Fail where the service behind the server was reached."""
        self.works()  # whoever came before this one is there by now
        assert not self.line.is_awaited

    def close(self) -> None:
        """Take no connection any more."""
        self._runner.close()
        self.line.close()


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    """Return one line for all."""
    machine = Machine(tmp_path_factory.mktemp("street"))
    street = Street(machine)
    try:
        yield street
    finally:
        street.close()
        machine.close()


CALLBACK = "the Extended ORPort"
INNER = (CALLBACK, "the PT's SOCKS port", "the PT server's port")
OWN, OTHER = "ours", "another's"
USERS = {OWN: 0, OTHER: NOBODY}


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("port", INNER)
def test_a_crowd_that_says_nothing_keeps_no_tunnel_out(
    street: Street, port: str, user: str
) -> None:
    """SE-10: a slow-loris on each of the inner ports."""
    with connections(street.inner[port], user=USERS[user], number=CROWD):
        street.works()


def test_another_user_is_not_even_spoken_to(street: Street) -> None:
    """Not the Extended ORPort's first word."""
    with connections(street.inner[CALLBACK], number=3) as callers:
        say(callers[0], b"\5\1\2")
        say(callers[1], b"\1" + secrets.token_bytes(ext_orport.NONCE_LENGTH))
        assert [heard(caller) for caller in callers] == [b""] * 3
    street.nobody_came()


def test_who_calls_the_pt_server_behind_our_back_does_not_come_in(
    street: Street, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Even a client that has the cert, and so a whole handshake."""
    machine = Machine(tmp_path_factory.mktemp("behind"))
    local = ("127.0.0.1", free_port())
    try:
        client = machine.pt_bridge(
            "client",
            f"{street.options};exec=obfs4proxy",
            local=local,
            remote=("127.0.0.1", street.inner["the PT server's port"]),
        )
        client.wait_for("ready: ")
        with socket.create_connection(local, DEADLINE) as sock:
            sock.sendall(b"let me in")
            assert heard(sock) == b""
    finally:
        machine.close()
    street.nobody_came()


def test_a_match_is_not_hijacked_from_the_same_port_of_another_address(
    street: Street,
) -> None:
    """We know a client again by our own address and port.

    Each port is one from which our front is connected to the PT now, so that no earlier
    connection of the kernel's can be in the way of the neighbour's.
    """

    async def attack() -> None:
        async with street.line.tunnel() as tunnel:
            server = bridge(street.line.server)
            inner = street.inner["the PT server's port"]
            ports = [
                each.laddr.port
                for each in server.net_connections("tcp")
                if each.status == psutil.CONN_ESTABLISHED and each.raddr.port == inner
            ]
            assert ports
            for port in ports:
                with connections(inner, source=f"127.0.0.2:{port}") as (caller,):
                    say(caller, secrets.token_bytes(8192))
                    await tunnel.client.send(1000)
                    await tunnel.server.receive(1000)
                    await tunnel.server.send(1000)
                    await tunnel.client.receive(1000)

    street.run(attack(), DEADLINE)
    street.nobody_came()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2"])
def test_who_has_stolen_the_cookie_still_needs_a_client_that_came_through_us(
    street: Street, host: str
) -> None:
    """An address that we did not call from is not let in."""
    cookie = _cookie(street.line.server)
    with connections(street.inner["the Extended ORPort"], user=0) as (it,):
        assert it.recv(2) == ext_orport.AUTHENTICATION_TYPES
        nonce = secrets.token_bytes(ext_orport.NONCE_LENGTH)
        it.sendall(ext_orport.SAFE_COOKIE + nonce)
        answer = it.recv(64, socket.MSG_WAITALL)
        nonces = nonce + answer[ext_orport.HASH_LENGTH :]
        it.sendall(hmac.digest(cookie, ext_orport.FROM_CLIENT + nonces, "sha256"))
        assert it.recv(1) == ext_orport.AUTHENTICATED
        address = f"{host}:{free_port()}".encode()
        it.sendall(ext_orport.HEAD.pack(ext_orport.USERADDR, len(address)) + address)
        it.sendall(ext_orport.HEAD.pack(ext_orport.DONE, 0))
        assert heard(it) == ext_orport.DENY
    street.nobody_came()


def _cookie(program: Program) -> bytes:
    variables = pt_below(program).environ()
    name = variables["TOR_PT_AUTH_COOKIE_FILE"].rpartition("/")[2]
    with open(f"/proc/{pt_below(program).pid}/fd/{name}", "rb") as file:
        return file.read().removeprefix(ext_orport.COOKIE_HEADER)


def test_a_neighbour_can_read_neither_the_password_nor_the_cookie(
    street: Street,
) -> None:
    """SE-12: what would let it in is in no place that another user may read."""
    code = (
        f"import os; os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})\n"
        "import sys\n"
        "for path in sys.argv[1:]:\n"
        "    try: open(path, 'rb').read(); print(path)\n"
        "    except PermissionError: pass\n"
    )
    paths = []
    for program in (street.line.client, street.line.server):
        for process in (bridge(program), pt_below(program)):
            folder = f"/proc/{process.pid}"
            paths.append(f"{folder}/environ")
            paths.append(f"{folder}/mem")
    name = pt_below(street.line.server).environ()["TOR_PT_AUTH_COOKIE_FILE"]
    paths.append(f"/proc/{pt_below(street.line.server).pid}/fd/{name.split('/')[-1]}")
    command = [sys.executable, "-I", "-S", "-c", code, *paths]
    ran = subprocess.run(command, capture_output=True, check=True, timeout=DEADLINE)
    assert ran.stdout == b""


def test_all_that_is_left_of_them_is_nothing(street: Street) -> None:
    """Connections by the hundred, with half a word, reset or closed."""
    names: set[tuple[int, int]] = set()
    for port, user in itertools.product(INNER, USERS.values()):
        with connections(street.inner[port], user=user, number=50) as callers:
            # By the port that was called: those who were shown out have no peer.
            names |= {
                (caller.getsockname()[1], street.inner[port]) for caller in callers
            }
            for number, caller in enumerate(callers):
                say(caller, b"\5\1\2\1\0\5"[: number % 7])
    street.works()
    wait_until(lambda: not street.callers() & names, "the end of the neighbours")
