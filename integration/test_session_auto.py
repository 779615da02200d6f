"""``session=auto``, a client's default: what it finds out of the server, and how soon.

The server without a session is a bare PT whose ORPort is the service, which is what an
older pt-bridge looks like from here. What it makes of a session's first bytes is up to
the service: it sends them back, it complains and hangs up, it hangs up, or, as
ss-server does, it says nothing.
"""

from __future__ import annotations

import contextlib
import socketserver
import threading
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from chaos.stage import pt
from integration.support.bare_server import BareServer
from integration.support.endpoints import (
    MIB,
    connect,
    connect_through,
    digest,
    download,
    free_port,
    read_to_end,
    upload,
)
from integration.support.in_thread import InThread
from integration.support.machine import (
    METHOD,
    PASSWORD,
    await_ss_local,
    await_ss_server,
)
from integration.support.pairings import LYREBIRD, PTS, SESSION
from integration.support.programs import DEADLINE

if TYPE_CHECKING:
    from collections.abc import Callable

    from integration.support.endpoints import Address, Service
    from integration.support.machine import Machine
    from integration.support.programs import Program

    Note = Callable[[str, object], None]

# What the log says once, where a server has no session: how to save the detour.
ADVICE = "session=0 saves the detour"
REQUEST = b"GET / HTTP/1.0\r\nHost: example.org\r\n\r\n"
ANSWER = b"HTTP/1.0 200 OK\r\n\r\nThis is the page.\n"
COMPLAINT = b"HTTP/1.0 400 Bad Request\r\n\r\n"
# What a service does that gets something else than a request.
ECHOES, COMPLAINS, HANGS_UP, IS_SILENT = "echoes", "complains", "hangs up", "is silent"
KINDS = (ECHOES, COMPLAINS, HANGS_UP, IS_SILENT)
LATER = 5
CHUNK = 64 * 1024


class Picky(InThread):
    """A service that knows one request, and notes what else comes.

    Attributes:
        kind: what it does then.
        requests: how often it has heard the request.
        others: what came instead, from each connection that brought something else.
    """

    def __init__(self, kind: str) -> None:
        """Listen on a port of 127.0.0.1."""
        super().__init__(_Visit)
        self.kind = kind
        self.requests = 0
        self.others: list[bytes] = []
        self.lock = threading.Lock()
        self.start()

    def handle_error(self, *_: object) -> None:
        """Be silent: clients hang up."""


class _Visit(socketserver.BaseRequestHandler):
    server: Picky

    def handle(self) -> None:
        self.request.settimeout(DEADLINE)
        data = b""
        while REQUEST.startswith(data) and data != REQUEST:
            more = self.request.recv(len(REQUEST) - len(data))
            if not more:
                break
            data += more
        if data == REQUEST:
            with self.server.lock:
                self.server.requests += 1
            self.request.sendall(ANSWER)
            # Until the client has it: over lyrebird nobody hears of a close.
            self._read_on()
            return
        if not data:
            return
        with self.server.lock:
            self.server.others.append(data)
        if self.server.kind == ECHOES:
            self.request.sendall(data)
            while data := self.request.recv(CHUNK):
                self.request.sendall(data)
        elif self.server.kind == COMPLAINS:
            self.request.sendall(COMPLAINT)
        elif self.server.kind == IS_SILENT:
            self._read_on()

    def _read_on(self) -> None:
        with contextlib.suppress(OSError):
            while self.request.recv(CHUNK):
                pass


def _client(machine: Machine, options: str, remote: Address) -> tuple[Program, Address]:
    """Start ``pt-bridge client``, which is ready."""
    local = ("127.0.0.1", free_port())
    client = machine.pt_bridge(
        "client", options, local=local, remote=remote, variables=machine.with_lyrebird()
    )
    client.wait_for("ready: ")
    return client, local


def _ask(local: Address) -> float:
    """Send the request, and see that the answer comes; return how long that took."""
    begun = time.monotonic()
    with connect(local) as sock:
        sock.settimeout(DEADLINE)
        sock.sendall(REQUEST)
        answer = b""
        while answer != ANSWER:
            more = sock.recv(CHUNK)
            assert more, f"an end after {answer!r}"
            answer += more
            assert ANSWER.startswith(answer)
    return time.monotonic() - begun


def _advice(client: Program) -> list[str]:
    return [line for line in client.output if ADVICE in line]


@pytest.mark.waits
@pytest.mark.parametrize("program", PTS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_server_without_a_session_is_found_out_by_the_first_connection(
    machine: Machine, kind: str, program: str, record_property: Note
) -> None:
    """The goal is 5 s for the first, and nothing for the others."""
    with contextlib.closing(Picky(kind)) as picky:
        server = BareServer(machine, program, picky.address)
        client, local = _client(machine, server.options, server.address)
        first = _ask(local)
        tried = len(picky.others)
        later = [_ask(local) for _ in range(LATER)]
        record_property("seconds", [round(each, 3) for each in (first, *later)])
        print(f"{program}, {kind}: {first:.2f}, then {max(later):.3f} s")  # noqa: T201
        assert picky.requests == 1 + LATER
        assert 1 <= tried <= 2
        assert len(picky.others) == tried, "a later one was tried with a session"
        client.wait_for(ADVICE)
        assert len(_advice(client)) == 1


@pytest.mark.waits
def test_connections_that_begin_together_find_it_out_together(machine: Machine) -> None:
    """Each is answered, and none is heard twice."""
    with contextlib.closing(Picky(IS_SILENT)) as picky:
        server = BareServer(machine, LYREBIRD, picky.address)
        client, local = _client(machine, server.options, server.address)
        errors: list[BaseException] = []

        def ask() -> None:
            try:
                _ask(local)
            except BaseException as error:  # raised again below
                errors.append(error)

        threads = [threading.Thread(target=ask) for _ in range(LATER)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for error in errors:
            raise error
        assert picky.requests == LATER
        client.wait_for(ADVICE)
        assert len(_advice(client)) == 1


@pytest.mark.waits
def test_each_way_is_judged_by_itself(machine: Machine) -> None:
    """The first speaks no session, and the second nothing else."""
    with contextlib.closing(Picky(IS_SILENT)) as picky:
        bare = BareServer(machine, "obfs4proxy", picky.address)
        remote = ("127.0.0.1", free_port())
        options = "transport=obfs4;exec=obfs4proxy;session=only"
        server = machine.pt_bridge(
            "server", options, local=picky.address, remote=remote
        )
        lines = [
            f"bridge=obfs4 127.0.0.1:{port} {' '.join(_arguments(line))}"
            for port, line in (
                (bare.address[1], bare.options),
                (remote[1], machine.client_options(server)),
            )
        ]
        client, local = _client(machine, ";".join(lines), ("192.0.2.1", 9))
        for _ in range(LATER):
            _ask(local)
        client.wait_for("the server of way 1 speaks no session")
        bare.pt.stop()
        for _ in range(LATER):
            _ask(local)
        assert picky.requests == 2 * LATER
        assert len(_advice(client)) == 1


def _arguments(options: str) -> list[str]:
    """Return what a bridge line says of a server's obfs4."""
    return [each for each in options.split(";") if each[:4] in ("cert", "iat-")]


def test_session_0_makes_no_detour(machine: Machine) -> None:
    with contextlib.closing(Picky(IS_SILENT)) as picky:
        server = BareServer(machine, LYREBIRD, picky.address)
        client, local = _client(machine, f"{server.options};session=0", server.address)
        _ask(local)
        assert picky.requests == 1
        assert not picky.others
        assert not _advice(client)


@pytest.mark.waits
@pytest.mark.parametrize("program", PTS)
def test_ss_server_behind_a_bare_pt_is_reached(
    machine: Machine, service: Service, program: str, record_property: Note
) -> None:
    """Real shadowsocks at both ends, and pt-bridge at one."""
    port, socks_port = free_port(), free_port()
    shadowsocks = machine.start(
        "ss-server",
        *("-s", "127.0.0.1", "-p", str(port), "-k", PASSWORD, "-m", METHOD),
    )
    await_ss_server(shadowsocks)
    server = BareServer(machine, program, ("127.0.0.1", port))
    client = machine.ss_local(
        server.address[1],
        socks_port,
        server.options,
        variables=machine.with_lyrebird(),
    )
    await_ss_local(client)
    seconds = []
    for _ in range(2):
        begun = time.monotonic()
        with connect_through(socks_port, service.address) as sock:
            assert upload(sock, MIB) == digest(MIB)
        seconds.append(round(time.monotonic() - begun, 2))
    with connect_through(socks_port, service.address) as sock:
        assert download(sock, MIB) == digest(MIB)
    record_property("seconds", seconds)
    print(f"{program}: {seconds} s")  # noqa: T201
    client.wait_for(ADVICE)
    assert len(_advice(client)) == 1


class Reborn:
    """A server with a session that can be away, and its client, who is told nothing.

    Attributes:
        service: what stands behind.
        options: what a client needs, but for the session.
        remote: where the server listens.
    """

    def __init__(self, machine: Machine, service: Service) -> None:
        """Start the server once, for its keys."""
        self._machine = machine
        self.service = service
        self.remote: Address = ("127.0.0.1", free_port())
        self.server = self.start()
        line = machine.client_options(self.server)
        self.options = f"{line};exec={LYREBIRD}".replace(SESSION, "")

    def start(self) -> Program:
        """Start the server, and wait until it is ready."""
        self.server = self._machine.pt_bridge(
            "server",
            f"transport=obfs4;exec={LYREBIRD}",
            local=self.service.address,
            remote=self.remote,
            variables=self._machine.with_lyrebird(),
        )
        self.server.wait_for("ready: ")
        return self.server


@pytest.fixture
def reborn(machine: Machine, service: Service) -> Reborn:
    """Return a server that runs."""
    return Reborn(machine, service)


def _has_session(local: Address) -> None:
    """Check that an end comes through: over lyrebird only a session passes it on."""
    with connect(local) as sock:
        sock.settimeout(DEADLINE)
        sock.sendall(b"GIVE %d\n" % MIB)
        assert read_to_end(sock) == (MIB, digest(MIB))


def test_a_servers_line_says_that_it_has_a_session(
    machine: Machine, reborn: Reborn
) -> None:
    assert SESSION in machine.client_options(reborn.server)


def test_a_server_with_a_session_is_spoken_to_without_a_word(
    machine: Machine, reborn: Reborn
) -> None:
    client, local = _client(machine, reborn.options, reborn.remote)
    for _ in range(LATER):
        _has_session(local)
    assert not _advice(client)


def test_a_server_that_is_away_at_the_start_is_not_taken_for_one_without_a_session(
    machine: Machine, reborn: Reborn
) -> None:
    reborn.server.stop()
    client, local = _client(machine, reborn.options, reborn.remote)
    for _ in range(2):
        with connect(local) as sock, contextlib.suppress(ConnectionError):
            sock.settimeout(DEADLINE)
            sock.sendall(REQUEST)
            assert sock.recv(1) == b""
    reborn.start()
    _has_session(local)
    assert not _advice(client)


@pytest.mark.parametrize("side", ["client", "server"])
def test_a_pt_that_dies_during_the_first_connection_proves_nothing(
    machine: Machine, reborn: Reborn, side: str
) -> None:
    """The server's stands still, so that nothing is answered before it."""
    client, local = _client(machine, reborn.options, reborn.remote)
    servers, said = pt(reborn.server), len(reborn.server.output)
    servers.suspend()
    try:
        with connect(local) as sock:
            sock.sendall(b"GIVE %d\n" % MIB)
            (pt(client) if side == "client" else servers).kill()
            _resume(servers)
            with contextlib.suppress(ConnectionError):
                read_to_end(sock)
    finally:
        _resume(servers)
    if side == "server":
        reborn.server.wait_for("ready: ", after=said)
    _has_session(local)
    assert not _advice(client)


def _resume(process: psutil.Process) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.resume()
