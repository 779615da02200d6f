"""What is there for those who run pt-bridge for others, with the real HAProxy."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import urllib.request
from typing import TYPE_CHECKING

import pytest

from integration.support.documents import blocks, replace
from integration.support.endpoints import connect, free_port
from integration.support.programs import DEADLINE, find, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from integration.support.endpoints import Address, Service
    from integration.support.machine import Machine
    from integration.support.programs import Program

LOOPBACK = "127.0.0.1"
# Where the balancer calls from, so that it is told from its clients.
BALANCER = "127.0.0.77"
GEOIP = "/usr/share/tor/geoip"
OBFS4 = "transport=obfs4;exec=obfs4proxy"
# A service that takes the PROXY protocol and says whose address it was told.
ECHO = """
frontend echo
    mode http
    timeout client 30s
    bind 127.0.0.1:{port} accept-proxy
    http-request return content-type text/plain lf-string "%[src] %[dst_port]"
"""


def haproxy(machine: Machine, name: str, text: str) -> Program:
    """Start HAProxy, and wait until it listens."""
    path = machine.folder / f"{name}.cfg"
    path.write_text(f"{text}\n")  # without an end, it is taken for truncated
    program = find("haproxy", path=f"/usr/sbin:{os.environ['PATH']}")
    started = machine.start(program, "-db", "-f", str(path))
    (port,) = re.findall(r"bind \S*:(\d+)", text)
    wait_until(lambda: listens(int(port)), f"{name} does not listen")
    return started


def listens(port: int) -> bool:
    try:
        socket.create_connection((LOOPBACK, port), DEADLINE).close()
    except ConnectionRefusedError:
        return False
    return True


def ask(local: Address, path: str = "/") -> str:
    """Fetch a page through a tunnel, over a connection of its own."""
    url = f"http://{local[0]}:{local[1]}{path}"
    with urllib.request.urlopen(url, timeout=DEADLINE) as answer:
        body = answer.read()
    assert isinstance(body, bytes)
    return body.decode()


def numbers(port: int) -> dict[str, float]:
    """Read the page of numbers: values by the metric with its last label."""
    found = {}
    for line in ask((LOOPBACK, port), "/metrics").splitlines():
        if line.startswith("pt_bridge_"):
            name, value = line.rsplit(" ", 1)
            own = re.search(r'(?:cause|country|direction)="([^"]*)"', name)
            found[name.partition("{")[0] + (f" {own[1]}" if own else "")] = float(value)
    return found


def is_cut(local: Address) -> bool:
    """Whether a client's connection ends without an answer."""
    with connect(local) as sock:
        sock.sendall(b"GIVE 1000\n")
        try:
            return sock.recv(1) == b""
        except ConnectionResetError:
            return True


def client(machine: Machine, options: str, remote: Address) -> Address:
    local = (LOOPBACK, free_port())
    started = machine.pt_bridge(
        "client", f"{options};exec=obfs4proxy", local=local, remote=remote
    )
    started.wait_for("ready: ")
    return local


def test_two_machines_stand_behind_haproxy(machine: Machine) -> None:
    """The recipe: one identity, the client's address kept, and one of them may end."""
    echo, outer = free_port(), free_port()
    ports = [free_port(), free_port()]
    haproxy(machine, "echo", ECHO.format(port=echo))
    servers, options = [], ""
    for number, port in enumerate(ports):
        state = machine.folder / f"machine-{number}"
        if number:  # "copy its state directory"
            before = machine.folder / "machine-0"
            shutil.copytree(before, state)
            folder = state / "pt-bridge"
            (folder / f"obfs4-{ports[0]}").rename(folder / f"obfs4-{port}")
        server = machine.pt_bridge(
            "server",
            OBFS4,
            *("--accept-proxy", "--send-proxy-v2"),
            local=(LOOPBACK, echo),
            remote=(LOOPBACK, port),
            variables={**machine.variables(), "XDG_STATE_HOME": str(state)},
        )
        found = machine.client_options(server)
        assert options in ("", found)
        servers.append(server)
        options = found
    recipe = blocks("docs/server.rst", "Behind a load balancer")[1]
    haproxy(
        machine,
        "balancer",
        replace(
            recipe,
            {
                "bind :443": f"bind {LOOPBACK}:{outer}",
                "leastconn": "roundrobin",
                "10.0.0.11:8443": f"{LOOPBACK}:{ports[0]} source {BALANCER}",
                "10.0.0.12:8443": f"{LOOPBACK}:{ports[1]} source {BALANCER}",
            },
        ),
    )
    clients = [client(machine, options, (LOOPBACK, outer)) for _ in range(4)]
    for local in clients:
        # Not the balancer's own address, and the port that clients went to.
        assert ask(local).split()[0] == LOOPBACK
    assert servers[0].stop() == 0
    wait_until(
        lambda: all(_is_answered(local) for local in clients),
        "the other does not serve",
    )


def _is_answered(local: Address) -> bool:
    try:
        return ask(local).startswith(LOOPBACK)
    except OSError:
        return False


def test_who_comes_past_the_balancer_is_not_let_in(
    machine: Machine, service: Service
) -> None:
    """With the cert, and without the balancer's header."""
    remote = (LOOPBACK, free_port())
    server = machine.pt_bridge(
        "server", OBFS4, "--accept-proxy", local=service.address, remote=remote
    )
    local = client(machine, machine.client_options(server), remote)
    assert is_cut(local)


@pytest.mark.parametrize("front", ["yes", "no"])
def test_lists_and_numbers_of_a_server(
    machine: Machine, service: Service, tmp_path: Path, front: str
) -> None:
    """With a front and without one: kept out, let in again, and a wrong line named."""
    deny, port = tmp_path / "deny", free_port()
    deny.write_text("# nobody\n")
    remote = (LOOPBACK, free_port())
    server = machine.pt_bridge(
        "server",
        f"{OBFS4};front={front}",
        *(f"--deny={deny}", f"--metrics={LOOPBACK}:{port}", f"--geoip={GEOIP}"),
        local=service.address,
        remote=remote,
    )
    options = machine.client_options(server)
    assert not is_cut(client(machine, options, remote))
    deny.write_text("127.0.0.0/8\n")
    server.signal(signal.SIGHUP)
    server.wait_for("reloaded")
    kept_out = client(machine, options, remote)
    assert is_cut(kept_out)
    deny.write_text("192.0.2.0/24\n127.0.0.1/8\n")
    server.signal(signal.SIGHUP)
    server.wait_for(
        "line 2: its address has bits behind its prefix: with /8 the last 24 of its 32 "
        "bits must be 0; going on as before"
    )
    assert is_cut(kept_out)
    found = numbers(port)
    assert found["pt_bridge_pt_up"] == 1
    assert found["pt_bridge_tunnels_total"] == 1
    assert found["pt_bridge_bytes_total outbound"] == 1000
    assert found["pt_bridge_refusals_total on the deny list"] >= 2
    assert found["pt_bridge_clients ??"] == 8  # the one client, in eights
    assert (found["pt_bridge_handshake_seconds_count"] > 0) == (front == "yes")


def test_one_source_has_no_more_connections_than_it_may(
    machine: Machine, service: Service
) -> None:
    """And as many again once it has left."""
    remote = (LOOPBACK, free_port())
    server = machine.pt_bridge(
        "server", OBFS4, "--max-per-source=2", local=service.address, remote=remote
    )
    options = machine.client_options(server)
    first, second = (client(machine, options, remote) for _ in range(2))
    with connect(first) as one, connect(first) as other:
        for sock in (one, other):
            sock.sendall(b"GIVE 1\n")
            assert sock.recv(1)
        assert is_cut(second)
    # The first keeps its connections for a while, and may use them again.
    assert not is_cut(first)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--metrics=0.0.0.0:1",), "would let other machines read the numbers"),
        (("--deny=/absent",), "--deny: /absent cannot be read: no such file"),
        (("--geoip=/etc/passwd",), "it is not of the form of tor's geoip files"),
        (("--max-per-source=0",), "must be a number from 1 to 1000000"),
    ],
)
def test_a_wrong_flag_ends_it_with_a_sentence(
    machine: Machine, flags: tuple[str, ...], words: str
) -> None:
    """At the start, and not at the first client."""
    server = machine.pt_bridge(
        "server",
        OBFS4,
        *flags,
        local=(LOOPBACK, free_port()),
        remote=(LOOPBACK, free_port()),
    )
    assert server.wait() in (64, 65)
    assert words in server.last_of_pt_bridge()
