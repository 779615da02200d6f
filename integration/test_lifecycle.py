"""Starting and stopping: nothing outlives what it belongs to, and nobody is lost."""

from __future__ import annotations

import os
import shutil
import signal
import stat
from typing import TYPE_CHECKING

import pytest

from integration.support.endpoints import (
    MIB,
    connect,
    connect_through,
    digest,
    download,
    free_port,
    read,
    upload,
)
from integration.support.machine import await_ss_local, await_ss_server
from integration.support.programs import end_pt, find
from tests.support.child_processes import children

if TYPE_CHECKING:
    from pathlib import Path

    import psutil

    from integration.support.endpoints import Service
    from integration.support.machine import Chain, Machine
    from integration.support.programs import Program

STOPS = [signal.SIGTERM, signal.SIGHUP]
HOSTS = ["ss-server", "ss-local"]
PT = "obfs4proxy"
SERVER_OPTIONS = f"transport=obfs4;exec={PT}"
SERVER = f"server;{SERVER_OPTIONS}"


def _chain_in_use(machine: Machine, service: Service, more: str = "") -> Chain:
    chain = machine.chain(
        server_options=f"{SERVER}{more}", client_options=f";exec={PT}{more}"
    )
    with chain.connect(service.address) as sock:
        assert download(sock, 1000) == digest(1000)
    return chain


def _below(machine: Machine, host: Program, *, pt: bool = False) -> psutil.Process:
    """Find the pt-bridge, or the PT, that descends from a host."""
    for process in machine.processes()["pt-bridge"]:
        if process.ppid() == host.pid:
            return children(process.pid)[0] if pt else process
    raise AssertionError("the host has no pt-bridge")


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("number", [*STOPS, signal.SIGKILL], ids=lambda s: s.name)
def test_a_signal_to_pt_bridge_ends_its_host_and_its_pt(
    machine: Machine, service: Service, host: str, number: signal.Signals
) -> None:
    """LC-03, LC-08, LC-09, HQ-01."""
    chain = _chain_in_use(machine, service)
    hit, other = chain.server, chain.client
    if host == "ss-local":
        hit, other = other, hit
    with chain.connect(service.address) as sock:
        sock.sendall(b"ECHO\n")
        _below(machine, hit).send_signal(number)
        assert hit.wait() != 0
    assert other.runs
    assert other.stop() == 0
    machine.nothing_is_left()


@pytest.mark.parametrize("host", HOSTS)
def test_the_end_of_the_pt_ends_pt_bridge_and_its_host(
    machine: Machine, service: Service, host: str
) -> None:
    """LC-10, HQ-01: the host's last line from us says why."""
    chain = _chain_in_use(machine, service, ";restarts=0")
    hit, other = chain.server, chain.client
    if host == "ss-local":
        hit, other = other, hit
    _below(machine, hit, pt=True).kill()
    assert hit.wait() != 0
    assert hit.last_of_pt_bridge() == (
        "pt-bridge[obfs4]: error: obfs4proxy was killed by SIGKILL; restarts=0, so "
        "pt-bridge ends with it"
    )
    assert other.stop() == 0
    machine.nothing_is_left()


@pytest.mark.parametrize("side", ["server", "client"])
@pytest.mark.parametrize("number", STOPS, ids=lambda s: s.name)
def test_a_stop_that_was_asked_for_is_no_failure(
    machine: Machine, side: str, number: signal.Signals
) -> None:
    """ER-01, LC-08, LC-09: exit code 0, and nothing left in the temporary folder."""
    bridge = machine.plugin(
        SERVER if side == "server" else f"transport=obfs3;exec={PT}",
        remote=("127.0.0.1", free_port()),
    )
    bridge.wait_for("ready: ")
    bridge.signal(number)
    assert bridge.wait() == 0
    assert bridge.last_of_pt_bridge().endswith("stopped")
    assert bridge.stdout == b""
    machine.nothing_is_left()
    assert os.listdir(machine.temporary) == []


def test_what_a_killed_client_leaves_the_next_one_removes(machine: Machine) -> None:
    """HQ-04: SIGKILL leaves a folder, and that folder is stale."""
    options = f"transport=obfs3;exec={PT}"
    first = machine.plugin(options)
    first.wait_for("ready: ")
    first.signal(signal.SIGKILL)
    first.wait()
    machine.nothing_is_left()
    (stale,) = os.listdir(machine.temporary)
    second = machine.plugin(options)
    second.wait_for("ready: ")
    assert stale not in os.listdir(machine.temporary)
    assert second.stop() == 0
    assert os.listdir(machine.temporary) == []


@pytest.mark.parametrize("side", ["server", "client"])
def test_the_end_of_the_pt_is_a_failure_that_says_so(
    machine: Machine, side: str
) -> None:
    """ER-10, LC-10."""
    options = SERVER if side == "server" else f"transport=obfs3;exec={PT}"
    bridge = machine.plugin(
        f"{options};restarts=0",
        remote=("127.0.0.1", free_port()),
    )
    bridge.wait_for("ready: ")
    (pt,) = machine.processes()[PT]
    end_pt(pt)  # obfs4proxy then exits with 0
    assert bridge.wait() == 75
    assert "obfs4proxy ended with exit code 0" in bridge.last_of_pt_bridge()
    machine.nothing_is_left()
    assert os.listdir(machine.temporary) == []


def test_nohup_keeps_sighup_away(machine: Machine, service: Service) -> None:
    """LC-08: a SIGHUP that was ignored at the start stays ignored."""
    local = ("127.0.0.1", free_port())
    server = machine.start(
        "nohup",
        find("pt-bridge"),
        "server",
        f"--local=127.0.0.1:{service.address[1]}",
        f"--remote={local[0]}:{local[1]}",
        f"--plugin-opts=transport=obfs4;exec={PT}",
    )
    server.wait_for("ready: ")
    server.signal(signal.SIGHUP)
    # It answers still, whatever it was sent before.
    connect(local).close()
    assert server.runs
    assert server.stop() == 0


class SlowPt:
    """A PT that waits, before it starts, until its gate is opened.

    Attributes:
        folder: where it is, under the PT's own name.
    """

    def __init__(self, folder: Path) -> None:
        """Put it into a new folder."""
        folder.mkdir()
        self.folder = folder
        self._gate = folder / "gate"
        os.mkfifo(self._gate)
        script = folder / PT
        script.write_text(f"#!/bin/sh\nread line <'{self._gate}'\nexec {find(PT)}\n")
        script.chmod(0o755)

    def variables(self, machine: Machine) -> dict[str, str]:
        """Return an environment in which it is the PT."""
        variables = machine.variables()
        variables["PATH"] = os.pathsep.join([str(self.folder), variables["PATH"]])
        return variables

    def let_go(self) -> None:
        """Open the gate, once it waits there."""
        self._gate.write_text("open\n")


def test_a_connection_that_comes_before_the_pt_is_ready_is_kept(
    machine: Machine, service: Service
) -> None:
    """FE-08: listening first."""
    remote, local = ("127.0.0.1", free_port()), ("127.0.0.1", free_port())
    server = machine.pt_bridge(
        "server", SERVER_OPTIONS, local=service.address, remote=remote
    )
    options = machine.client_options(server)
    slow = SlowPt(machine.folder / "slow")
    client = machine.pt_bridge(
        "client",
        f"{options};exec={PT}",
        local=local,
        remote=remote,
        variables=slow.variables(machine),
    )
    connect(local).close()  # asks whether we are there, as hosts do
    with connect(local) as sock:
        sock.sendall(b"GIVE 100000\n")
        slow.let_go()
        assert read(sock, 100_000) == digest(100_000)
    assert client.text.index("starting ") < client.text.index("ready: ")


def test_a_connection_through_ss_local_is_kept_until_the_pt_is_ready(
    machine: Machine, service: Service
) -> None:
    """FE-08: ss-local itself does not try a second time."""
    port, socks_port = free_port(), free_port()
    server = machine.ss_server(port, SERVER)
    options = machine.client_options(server)
    await_ss_server(server)
    slow = SlowPt(machine.folder / "slow")
    host = machine.ss_local(
        port, socks_port, f"{options};exec={PT}", variables=slow.variables(machine)
    )
    host.wait_for("starting ")
    with connect_through(socks_port, service.address) as sock:
        sock.sendall(b"GIVE 100000\n")
        slow.let_go()
        assert read(sock, 100_000) == digest(100_000)


def test_a_server_keeps_its_identity_and_says_when_it_has_a_new_one(
    machine: Machine, service: Service
) -> None:
    """PE-04: clients must learn a new cert."""
    port = free_port()
    state = machine.folder / f"state/pt-bridge/obfs4-{port}"

    def start() -> tuple[str, str]:
        server = machine.ss_server(port, SERVER)
        options = machine.client_options(server)
        assert server.stop() == 0
        return options, server.text

    first, said = start()
    assert f"a new server: its clients' plugin options are in {state}" in said
    assert _mode(state) == 0o700
    assert {_mode(path) for path in state.iterdir()} == {0o600}

    again, said = start()
    assert again == first
    assert "new" not in said

    (state / "obfs4_state.json").unlink()
    second, said = start()
    assert second != first
    assert "warning: this server's identity has changed" in said

    shutil.rmtree(state)
    third, said = start()
    assert third not in (first, second)
    assert f"a new server: its clients' plugin options are in {state}" in said


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_two_servers_that_share_a_state_have_one_identity(
    machine: Machine, service: Service
) -> None:
    """They are started at the same time, and their clients cannot tell."""
    ports = [free_port(), free_port()]
    servers = [machine.ss_server(port, f"{SERVER};state=shared") for port in ports]
    first, second = (machine.client_options(server) for server in servers)
    assert first == second
    for port, server in zip(ports, servers, strict=True):
        await_ss_server(server)
        socks_port = free_port()
        client = machine.ss_local(port, socks_port, f"{first};exec={PT}")
        await_ss_local(client)
        with connect_through(socks_port, service.address) as sock:
            assert upload(sock, MIB) == digest(MIB)
