"""A PT that dies is started again, behind shadowsocks and by hand."""

from __future__ import annotations

import shutil
import signal
import socket
from typing import TYPE_CHECKING

import psutil
import pytest

from integration.support.endpoints import connect, digest, download, free_port, upload
from integration.support.programs import end_pt, wait_until
from tests.support.child_processes import children

if TYPE_CHECKING:
    from integration.support.endpoints import Service
    from integration.support.machine import Chain, Machine
    from integration.support.programs import Program

PT = "obfs4proxy"
SERVER = f"server;transport=obfs4;exec={PT}"
READY = "ready: "
SIZE = 100_000


def _pt_of(machine: Machine, host: Program) -> psutil.Process:
    """Find the PT that descends from a host."""
    for process in machine.processes()["pt-bridge"]:
        if process.ppid() == host.pid:
            return children(process.pid)[0]
    raise AssertionError("the host has no pt-bridge")


def _kill(machine: Machine, host: Program) -> None:
    """Kill a host's PT, and wait until there is another one."""
    said = len(host.output)
    _pt_of(machine, host).kill()
    host.wait_for(f"{PT} was killed by SIGKILL; starting the PT again", after=said)
    host.wait_for(READY, after=said)


def _is_carried(chain: Chain, service: Service) -> None:
    with chain.connect(service.address) as sock:
        assert download(sock, SIZE) == digest(SIZE)
    with chain.connect(service.address) as sock:
        assert upload(sock, SIZE) == digest(SIZE)


def test_shadowsocks_goes_on_when_a_pt_dies(machine: Machine, service: Service) -> None:
    """On either side, and more than once."""
    chain = machine.chain(server_options=SERVER, client_options=f";exec={PT}")
    _is_carried(chain, service)
    for host in (chain.client, chain.server, chain.client):
        _kill(machine, host)
        _is_carried(chain, service)
    assert chain.client.stop() == 0
    assert chain.server.stop() == 0
    machine.nothing_is_left()


def test_a_connection_that_finds_no_pt_waits_for_the_next(
    machine: Machine, service: Service
) -> None:
    """Ss-local itself does not try a second time."""
    chain = machine.chain(server_options=SERVER, client_options=f";exec={PT}")
    _is_carried(chain, service)
    said = len(chain.client.output)
    _pt_of(machine, chain.client).kill()
    _is_carried(chain, service)
    chain.client.wait_for("starting the PT again", after=said)


def test_a_servers_pt_that_stands_still_is_started_again_behind_a_front(
    machine: Machine, service: Service
) -> None:
    """It lives, and the kernel takes connections for it."""
    chain = machine.chain(
        server_options=f"{SERVER};front=yes", client_options=f";exec={PT}"
    )
    _is_carried(chain, service)
    said = len(chain.server.output)
    pt = _pt_of(machine, chain.server)
    pt.suspend()
    wait_until(lambda: pt.status() == psutil.STATUS_STOPPED, "the PT stands still")
    with connect(("127.0.0.1", chain.port)):
        chain.server.wait_for(f"{PT} lives, and accepts nothing", after=said)
        chain.server.wait_for(READY, after=said)
    _is_carried(chain, service)


def test_a_server_has_the_same_cert_after_its_state_was_deleted(
    machine: Machine, service: Service
) -> None:
    """Or every client would be locked out."""
    chain = machine.chain(server_options=SERVER, client_options=f";exec={PT}")
    shutil.rmtree(machine.folder / f"state/pt-bridge/obfs4-{chain.port}")
    said = len(chain.server.output)
    _kill(machine, chain.server)
    assert machine.client_options(chain.server) == chain.options
    assert not any("changed" in line for line in chain.server.output[said:])
    _is_carried(chain, service)


@pytest.mark.parametrize("role", ["client", "server"])
def test_a_stop_that_reaches_the_pt_first_starts_no_second(
    machine: Machine, role: str
) -> None:
    """LC-05: systemd signals the whole group."""
    options = SERVER if role == "server" else f"transport=obfs3;exec={PT}"
    bridge = machine.plugin(options, remote=("127.0.0.1", free_port()))
    bridge.wait_for(READY)
    (pt,) = machine.processes()[PT]
    end_pt(pt)
    bridge.signal(signal.SIGTERM)
    assert bridge.wait() == 0
    assert sum("starting " in line for line in bridge.output) == 1
    machine.nothing_is_left()


def test_a_pt_that_keeps_dying_ends_it_and_its_host(
    machine: Machine, service: Service
) -> None:
    """As SIP003 asks; the last line says why."""
    more = ";restarts=1"
    chain = machine.chain(
        server_options=f"{SERVER}{more}", client_options=f";exec={PT}{more}"
    )
    _is_carried(chain, service)
    _kill(machine, chain.client)
    _pt_of(machine, chain.client).kill()
    assert chain.client.wait() != 0
    assert "failed 2 times" in chain.client.last_of_pt_bridge()
    assert chain.server.stop() == 0
    machine.nothing_is_left()


def test_ctrl_c_by_hand_lets_a_download_finish(
    machine: Machine, service: Service
) -> None:
    """LC-05: and takes nothing new."""
    remote, local = ("127.0.0.1", free_port()), ("127.0.0.1", free_port())
    server = machine.pt_bridge(
        "server", f"transport=obfs4;exec={PT}", local=service.address, remote=remote
    )
    options = machine.client_options(server)
    client = machine.pt_bridge(
        "client", f"{options};exec={PT}", local=local, remote=remote
    )
    client.wait_for(READY)
    with connect(local) as sock:
        sock.sendall(b"ECHO\nx")
        assert sock.recv(1) == b"x"  # it is open, and not only in the backlog
        client.signal(signal.SIGINT)
        client.wait_for("finishing 1 tunnel; Ctrl-C again to stop")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(local)
        sock.sendall(b"x" * SIZE)
        left = SIZE
        while left:
            left -= len(sock.recv(left))
    assert client.wait() == 0
