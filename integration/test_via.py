"""A PT inside another plugin: simple-obfs, v2ray-plugin, and pt-bridge once more."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
from typing import TYPE_CHECKING, NamedTuple

import psutil
import pytest

from integration.support.endpoints import (
    CHUNK,
    MIB,
    assert_carries,
    connect,
    connect_through,
    digest,
    download,
    free_port,
    payload,
    read_to_end,
    read_until_reset,
    upload,
)
from integration.support.machine import NOBODY, Pair, await_ss_local, await_ss_server
from integration.support.programs import DEADLINE, wait_until
from integration.support.recorder import Recorder
from tests.support.child_processes import children

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from integration.support.endpoints import Service
    from integration.support.machine import Machine
    from integration.support.programs import Program

SIZE = 5 * MIB
LOOPBACK = "127.0.0.1"
OBFS4 = "transport=obfs4;exec=obfs4proxy"
CLIENT_HELLO = b"\x16\x03"  # a TLS record with a handshake (RFC 8446, 5.1)


class Kind(NamedTuple):
    """A plugin on both sides, and what is seen of it.

    Attributes:
        server: the server's `via=` and `via-opts=`.
        more: what a client adds to what the server says.
        client_program, server_program: what runs then.
        form: how each connection begins on the way.
        shows: what stands in it, too.
    """

    server: str
    more: str
    client_program: str
    server_program: str
    form: bytes
    shows: bytes


KINDS = {
    "http": Kind(
        "via=obfs-server;via-opts=obfs\\=http",
        "\\;obfs-host\\=www.example.com",
        "obfs-local",
        "obfs-server",
        b"GET / HTTP/1.1\r\n",
        b"Host: www.example.com",
    ),
    "tls": Kind(
        "via=obfs-server;via-opts=obfs\\=tls",
        "\\;obfs-host\\=www.example.com",
        "obfs-local",
        "obfs-server",
        CLIENT_HELLO,
        b"www.example.com",
    ),
    "websocket": Kind(
        "via=v2ray-plugin;via-opts=server\\;path\\=/a-secret-path\\;host\\=www.example.com",
        "",
        "ss-v2ray-plugin",
        "ss-v2ray-plugin",
        b"GET /a-secret-path HTTP/1.1\r\n",
        b"Upgrade: websocket",
    ),
}


@pytest.fixture
def recorders() -> Iterator[Callable[[int], Recorder]]:
    """Return what puts a recorder before a port; all are closed in the end."""
    with contextlib.ExitStack() as stack:

        def before(port: int) -> Recorder:
            return stack.enter_context(contextlib.closing(Recorder((LOOPBACK, port))))

        yield before


@pytest.mark.parametrize("name", KINDS)
def test_shadowsocks_goes_through_a_pt_in_another_plugin(
    machine: Machine,
    service: Service,
    recorders: Callable[[int], Recorder],
    name: str,
) -> None:
    """Whole, both ways; and nothing but that form is seen."""
    kind = KINDS[name]
    port, socks_port = free_port(), free_port()
    machine.secrets.add("a-secret-path")
    server = machine.ss_server(port, f"server;{OBFS4};{kind.server}")
    options = machine.client_options(server)
    await_ss_server(server)
    recorder = recorders(port)
    client = machine.ss_local(
        recorder.port, socks_port, f"{options}{kind.more};exec=obfs4proxy"
    )
    await_ss_local(client)
    assert f"through {kind.server.split(';')[0].removeprefix('via=')}" in server.text

    def through() -> socket.socket:
        return connect_through(socks_port, service.address)

    with through() as sock:
        assert upload(sock, SIZE) == digest(SIZE)
    with through() as sock:
        assert download(sock, SIZE) == digest(SIZE)
    assert recorder.first
    for first in recorder.first:
        assert first.startswith(kind.form), first[:64]
        assert kind.shows in first
    assert {kind.client_program, kind.server_program} <= set(machine.processes())
    assert client.stop() == 0
    assert server.stop() == 0
    machine.nothing_is_left()


def is_carried(pair: Pair) -> None:
    """Check that bytes come through, in both directions."""
    assert_carries(lambda: connect(pair.local))


def child(program: Program, machine: Machine, name: str) -> psutil.Process:
    (found,) = [
        process
        for process in machine.processes()[name]
        if process.ppid() == program.pid
    ]
    return found


@pytest.mark.parametrize("name", KINDS)
def test_half_closes_arrive(machine: Machine, service: Service, name: str) -> None:
    """The session says them, whatever the plugin makes of an end."""
    machine.secrets.add("a-secret-path")
    options = f"server;{OBFS4};{KINDS[name].server}"
    pair = machine.pair(service.address, server_options=options)
    with connect(pair.local) as sock:  # the answer comes behind the question's end
        sock.sendall(b"GIVE %d\n" % SIZE)
        sock.shutdown(socket.SHUT_WR)
        assert read_to_end(sock) == (SIZE, digest(SIZE))
    with connect(pair.local) as sock:  # and the end of an upload arrives
        sock.sendall(b"KEEP\n")
        for chunk in payload(MIB):
            sock.sendall(chunk)
        sock.shutdown(socket.SHUT_WR)
        assert service.kept.get(timeout=DEADLINE) == (MIB, digest(MIB))


@pytest.mark.parametrize("name", ["http", "websocket"])
def test_either_child_may_be_killed_on_either_side(
    machine: Machine, service: Service, name: str
) -> None:
    """What was carried is cut, never ended; then both are started again."""
    kind = KINDS[name]
    machine.secrets.add("a-secret-path")
    pair = machine.pair(service.address, server_options=f"server;{OBFS4};{kind.server}")
    is_carried(pair)
    for program, pts in (
        (pair.client, (kind.client_program, "obfs4proxy")),
        (pair.server, (kind.server_program, "obfs4proxy")),
    ):
        for pt in pts:
            with connect(pair.local) as sock:
                sock.sendall(b"HALF %d\n" % MIB)
                assert sock.recv(CHUNK)
                said = len(program.output)
                child(program, machine, pt).kill()
                assert read_until_reset(sock)
            program.wait_for("was killed by SIGKILL", after=said)
            program.wait_for("ready: ", after=said)
            is_carried(pair)


def test_our_sudden_end_leaves_neither(machine: Machine, service: Service) -> None:
    """LC-03: SIGKILL of both pt-bridges."""
    pair = machine.pair(
        service.address, server_options=f"server;{OBFS4};{KINDS['http'].server}"
    )
    is_carried(pair)
    for program in (pair.client, pair.server):
        program.signal(signal.SIGKILL)
        program.wait()
    machine.nothing_is_left()


def test_what_has_rights_of_its_own_does_not_outlive_us_either(
    machine: Machine, service: Service
) -> None:
    """LC-03: the kernel lets Debian's obfs-server live on, for an ordinary user."""
    state = machine.folder / "state"
    state.mkdir()
    if os.geteuid() == 0:
        os.chown(state, NOBODY, NOBODY)
    program = machine.plugin(
        f"server;{OBFS4};{KINDS['http'].server}",
        local=service.address,
        remote=(LOOPBACK, free_port()),
        nobody=True,
    )
    program.wait_for("ready: ")
    started = children(program.pid)
    (guard,) = (each for each in started if each.name() == "sh")
    program.signal(signal.SIGKILL)
    program.wait()
    wait_until(lambda: not guard.is_running(), "the guard's end")
    machine.nothing_is_left()


def test_a_front_keeps_the_port_open_before_both(
    machine: Machine, service: Service
) -> None:
    pair = machine.pair(
        service.address,
        server_options=f"server;front=yes;{OBFS4};{KINDS['tls'].server}",
    )
    is_carried(pair)
    said = len(pair.server.output)
    child(pair.server, machine, "obfs-server").kill()
    connect(pair.remote).close()
    pair.server.wait_for("ready: ", after=said)
    is_carried(pair)


def test_both_children_are_replaced_and_nothing_is_cut(
    machine: Machine, service: Service
) -> None:
    """SIGUSR2, on a client, and on a server with a front."""
    pair = machine.pair(
        service.address,
        server_options=f"server;front=yes;{OBFS4};{KINDS['http'].server}",
    )
    for program, name in ((pair.client, "obfs-local"), (pair.server, "obfs-server")):
        said = len(program.output)
        with connect(pair.local) as sock:
            sock.sendall(b"KEEP\n")
            first, *others = payload(MIB)
            sock.sendall(first)
            old = child(program, machine, name)
            program.signal(signal.SIGUSR2)
            program.wait_for("ready: ", after=said)
            is_carried(pair)
            for chunk in others:
                sock.sendall(chunk)
            sock.shutdown(socket.SHUT_WR)
            assert service.kept.get(timeout=DEADLINE) == (MIB, digest(MIB))
        program.wait_for("the PT that was replaced has ended", after=said)
        assert not old.is_running()
    is_carried(pair)


def test_a_plugin_that_has_the_port_is_not_replaced(
    machine: Machine, service: Service
) -> None:
    """Without a front; what to do is said, and all goes on."""
    pair = machine.pair(
        service.address, server_options=f"server;{OBFS4};{KINDS['http'].server}"
    )
    pair.server.signal(signal.SIGUSR2)
    pair.server.wait_for("add front=yes, or restart pt-bridge")
    is_carried(pair)


def test_one_pt_goes_over_another(machine: Machine, service: Service) -> None:
    """Each server has its keys, and its clients one line for both."""
    options = "server;transport=obfs3;via=pt-bridge;via-opts=server\\;transport\\=obfs4"
    options += "\\;exec\\=obfs4proxy"
    remote = (LOOPBACK, free_port())
    local = (LOOPBACK, free_port())
    server = machine.pt_bridge("server", options, local=service.address, remote=remote)
    server.wait_for("through pt-bridge")
    client = machine.pt_bridge(
        "client", machine.client_options(server), local=local, remote=remote
    )
    client.wait_for("through pt-bridge")
    pair = Pair(server, client, local, remote)
    with connect(pair.local) as sock:
        assert upload(sock, SIZE) == digest(SIZE)
    with connect(pair.local) as sock:
        sock.sendall(b"GIVE %d\n" % SIZE)
        sock.shutdown(socket.SHUT_WR)
        assert read_to_end(sock) == (SIZE, digest(SIZE))
    assert len(machine.processes()["obfs4proxy"]) == 4
    state = machine.folder / "state/pt-bridge"
    line = (state / f"obfs3-{remote[1]}/client-options.txt").read_text()
    assert re.fullmatch(
        r"transport=obfs3;session=1;via=pt-bridge;via-opts=transport\\=obfs4\\;"
        r"session\\=1\\;cert\\=[^;]{70}\\;iat-mode\\=0\n",
        line,
    )
    keys = state / f"via/pt-bridge/obfs4-{remote[1]}/obfs4_state.json"
    before = keys.read_text()
    assert pair.server.stop() == 0
    again = machine.pt_bridge("server", options, local=service.address, remote=remote)
    again.wait_for("through pt-bridge")
    assert machine.client_options(again) == line.strip()
    assert keys.read_text() == before
    is_carried(pair)


@pytest.mark.parametrize(
    ("via", "code", "sentence"),
    [
        ("via=/bin/sh", 65, "via= in plugin options, which links can carry, may be"),
        ("via=sh", 65, "add the line 'SIP003Plugin sh exec /PATH/OF/PROGRAM' to"),
        ("via=simple-obfs", 65, "simple-obfs is obfs-local on a client, obfs-server"),
        ("via=obfs-server", 65, "via=obfs-server is for the server side"),
        ("via=v2ray-plugin;via-opts=server", 65, "which makes v2ray-plugin the server"),
        ("via=v2ray-plugin;via-opts=mode\\=x", 76, "unsupported mode:x"),
        ("via=ck-client", 71, "no plugin was found: install ck-client"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(
    machine: Machine, via: str, code: int, sentence: str
) -> None:
    """SE-04: what an option may start."""
    program = machine.plugin(f"transport=obfs3;{via}")
    assert program.wait() == code
    assert sentence in program.last_of_pt_bridge()


@pytest.mark.waits(20)
def test_doctor_walks_the_plugin_too(machine: Machine, service: Service) -> None:
    """On both sides; and a plugin that does not fit the server's is suspected."""
    kind = KINDS["http"]
    options = f"server;{OBFS4};{kind.server}"
    pair = machine.pair(service.address, server_options=options)
    place = f"--remote={LOOPBACK}:{pair.remote[1]}"

    def doctor(*arguments: str) -> tuple[int, str]:
        program = machine.start("pt-bridge", "doctor", *arguments)
        return program.wait(), program.text

    code, text = doctor(options, place)
    assert "ok" in text
    assert "plugin: obfs-server listens (/usr/bin/obfs-server)" in text
    assert f"serves {LOOPBACK}:{pair.remote[1]} already" in text
    assert code == 0, text
    state = machine.folder / f"state/pt-bridge/obfs4-{pair.remote[1]}"
    line = (state / "client-options.txt").read_text().strip()
    code, text = doctor(f"{line};exec=obfs4proxy", place)
    assert "plugin: obfs-local listens (/usr/bin/obfs-local)" in text
    assert re.search(r"^ok .* session: ", text, re.MULTILINE), text
    wrong = line.replace("http", "tls")
    code, text = doctor(f"{wrong};exec=obfs4proxy", place, "--timeout=20")
    assert "failed" in text
    assert "not proven within" in text
    assert "that via-opts= fits there" in text
    assert code == 67, text
    wait_until(lambda: len(machine.processes().get("obfs-local", [])) == 1, "the end")
