"""Every transport that the PTs at hand offer on loopback, in both roles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from integration.endpoints import (
    MIB,
    connect_through,
    digest,
    download,
    free_port,
    upload,
)
from integration.machine import await_ss_local
from integration.programs import LYREBIRD_FOLDER

if TYPE_CHECKING:
    from integration.endpoints import Service
    from integration.machine import Machine

LYREBIRD, OBFS4PROXY = "lyrebird", "obfs4proxy"


@pytest.mark.parametrize("transport", ["obfs2", "obfs3", "obfs4"])
def test_obfs4proxy_carries_each_transport_that_it_serves(
    machine: Machine, service: Service, transport: str
) -> None:
    """Issue 2, item 2."""
    chain = machine.chain(
        server_options=f"server;transport={transport};exec=obfs4proxy",
        client_options=";exec=obfs4proxy",
    )
    with chain.connect(service.address) as sock:
        assert upload(sock, MIB) == digest(MIB)
    with chain.connect(service.address) as sock:
        assert download(sock, MIB) == digest(MIB)


@pytest.mark.parametrize(
    "options",
    [
        "transport=scramblesuit;password=ABCDEFGHIJKLMNOPQRSTUVWXYZ234567",
        "transport=meek_lite;url=https://192.0.2.1/;front=example.org",
    ],
    ids=["scramblesuit", "meek_lite"],
)
def test_obfs4proxy_gets_ready_as_a_client_of(machine: Machine, options: str) -> None:
    """Issue 2, item 2: transports whose servers are not on this machine."""
    socks_port = free_port()
    client = machine.ss_local(free_port(), socks_port, f"{options};exec=obfs4proxy")
    client.wait_for("ready: obfs4proxy")
    await_ss_local(client)
    assert "warning" not in client.text
    assert client.runs


@pytest.mark.parametrize("client_pt", [OBFS4PROXY, LYREBIRD])
@pytest.mark.parametrize("server_pt", [OBFS4PROXY, LYREBIRD])
def test_obfs4_works_between(
    machine: Machine, service: Service, server_pt: str, client_pt: str
) -> None:
    """Issue 2, item 2: obfs4proxy and lyrebird at either end, by exec=."""
    chain = machine.chain(
        server_options=f"server;transport=obfs4;exec={server_pt}",
        client_options=f";exec={client_pt}",
        variables=machine.with_lyrebird(),
    )
    for program, pt in ((chain.server, server_pt), (chain.client, client_pt)):
        program.wait_for(f"ready: {pt}, ")
        assert "does not pass on" not in program.text  # RL-08: it need not
    with chain.connect(service.address) as sock:
        assert upload(sock, MIB) == digest(MIB)
    with chain.connect(service.address) as sock:
        assert download(sock, MIB) == digest(MIB)


def test_lyrebird_is_taken_first_where_both_are_there(machine: Machine) -> None:
    """demands.md 44: without exec=, by the order of the catalogue."""
    server = machine.ss_server(
        free_port(), "server;transport=obfs4", variables=machine.with_lyrebird()
    )
    server.wait_for(f"starting {LYREBIRD_FOLDER}/lyrebird")
    server.wait_for("ready: lyrebird")


def test_webtunnel_carries_what_it_is_given(machine: Machine, service: Service) -> None:
    """Issue 2, item 3; PF-2 to PF-4: its SMETHOD line names an invented address."""
    port, socks_port = free_port(), free_port()
    url = f"http://127.0.0.1:{port}/a-secret=path"
    variables = machine.with_lyrebird()
    machine.secrets.add("a-secret=path")
    server = machine.ss_server(
        port, f"server;transport=webtunnel;url={url}", variables=variables
    )
    options = machine.client_options(server)
    assert options.startswith("transport=webtunnel;url=http")
    client = machine.ss_local(
        port, socks_port, f"{options};exec=lyrebird", variables=variables
    )
    client.wait_for("ready: lyrebird")
    await_ss_local(client)
    _webtunnel_carries(service, socks_port)


def _webtunnel_carries(service: Service, socks_port: int) -> None:
    with connect_through(socks_port, service.address) as sock:
        assert upload(sock, MIB) == digest(MIB)
    with connect_through(socks_port, service.address) as sock:
        assert download(sock, MIB) == digest(MIB)


@pytest.mark.parametrize("role", ["client", "server"])
def test_lyrebird_is_warned_of_where_it_has_the_wire_to_itself(
    machine: Machine, role: str
) -> None:
    """RL-07, RL-08: with both ends held, what it does not pass on is passed on."""
    options = f"transport=obfs4;exec={LYREBIRD};hold=plain"
    options += ";server" if role == "server" else f";cert={'A' * 70};iat-mode=0"
    bridge = machine.plugin(
        options,
        remote=("127.0.0.1", free_port()),
        variables=machine.with_lyrebird(),
    )
    bridge.wait_for("lyrebird does not pass on")


@pytest.mark.parametrize("server_pt", [OBFS4PROXY, LYREBIRD])
def test_a_server_may_bring_its_connections_to_us(
    machine: Machine, service: Service, server_pt: str
) -> None:
    """Issue 5, item 2: hold=plain; the Extended ORPort, with its nameless cookie."""
    chain = machine.chain(
        server_options=f"server;transport=obfs4;exec={server_pt};hold=plain",
        client_options=f";exec={OBFS4PROXY}",
        variables=machine.with_lyrebird(),
    )
    with chain.connect(service.address) as sock:
        assert upload(sock, MIB) == digest(MIB)
    with chain.connect(service.address) as sock:
        assert download(sock, MIB) == digest(MIB)
