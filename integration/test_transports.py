"""Every transport that the PTs at hand offer on loopback, in both roles."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

import pytest

from integration.support.endpoints import (
    MIB,
    assert_carries,
    connect,
    connect_through,
    digest,
    download,
    free_port,
    read_to_end,
)
from integration.support.machine import await_ss_local, await_ss_server
from integration.support.pairings import MEEK, MEEK_SERVER
from integration.support.programs import DEADLINE, LYREBIRD_FOLDER
from integration.support.snowflake_broker import SnowflakeBroker

if TYPE_CHECKING:
    from integration.support.endpoints import Service
    from integration.support.machine import Machine

LYREBIRD, OBFS4PROXY = "lyrebird", "obfs4proxy"


@pytest.mark.parametrize("transport", ["obfs2", "obfs3", "obfs4"])
def test_obfs4proxy_carries_each_transport_that_it_serves(
    machine: Machine, service: Service, transport: str
) -> None:
    chain = machine.chain(
        server_options=f"server;transport={transport};exec=obfs4proxy",
        client_options=";exec=obfs4proxy",
    )
    assert_carries(lambda: chain.connect(service.address))


@pytest.mark.parametrize(
    "options",
    [
        "transport=scramblesuit;password=ABCDEFGHIJKLMNOPQRSTUVWXYZ234567",
        "transport=meek_lite;url=https://192.0.2.1/;front=example.org",
    ],
    ids=["scramblesuit", "meek_lite"],
)
def test_obfs4proxy_gets_ready_as_a_client_of(machine: Machine, options: str) -> None:
    """Transports whose servers are not on this machine."""
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
    """Obfs4proxy and lyrebird at either end, by exec=."""
    chain = machine.chain(
        server_options=f"server;transport=obfs4;exec={server_pt}",
        client_options=f";exec={client_pt}",
        variables=machine.with_lyrebird(),
    )
    for program, pt in ((chain.server, server_pt), (chain.client, client_pt)):
        program.wait_for(f"ready: {pt}, ")
        assert "does not pass on" not in program.text  # RL-08: the session does
    assert_carries(lambda: chain.connect(service.address))


def test_lyrebird_is_taken_first_where_both_are_there(machine: Machine) -> None:
    """demands.md 44: without exec=, by the order of the catalogue."""
    server = machine.ss_server(
        free_port(), "server;transport=obfs4", variables=machine.with_lyrebird()
    )
    server.wait_for(f"starting {LYREBIRD_FOLDER}/lyrebird")
    server.wait_for("ready: lyrebird")


def test_webtunnel_carries_what_it_is_given(machine: Machine, service: Service) -> None:
    """PF-2 to PF-4: its SMETHOD line names an invented address."""
    port, socks_port = free_port(), free_port()
    url = f"http://127.0.0.1:{port}/a-secret=path"
    variables = machine.with_lyrebird()
    machine.secrets.add("a-secret=path")
    server = machine.ss_server(
        port, f"server;transport=webtunnel;url={url}", variables=variables
    )
    options = machine.client_options(server)
    assert options.startswith("transport=webtunnel;session=1;url=http")
    client = machine.ss_local(
        port, socks_port, f"{options};exec=lyrebird", variables=variables
    )
    client.wait_for("ready: lyrebird")
    await_ss_local(client)
    _webtunnel_carries(service, socks_port)


def _webtunnel_carries(service: Service, socks_port: int) -> None:
    assert_carries(lambda: connect_through(socks_port, service.address))


def test_lyrebird_is_warned_of_where_a_client_speaks_no_session(
    machine: Machine, service: Service
) -> None:
    """RL-08: both sides say what plain connections cost, each of them once."""
    server = machine.ss_server(
        port := free_port(),
        f"server;transport=obfs4;exec={LYREBIRD}",
        variables=machine.with_lyrebird(),
    )
    options = machine.client_options(server).replace("session=1", "session=0")
    await_ss_server(server)
    assert "stay open" not in server.text
    client = machine.ss_local(
        port,
        socks_port := free_port(),
        f"{options};exec={LYREBIRD}",
        variables=machine.with_lyrebird(),
    )
    client.wait_for("lyrebird does not pass on")
    await_ss_local(client)
    for _ in range(2):
        with connect_through(socks_port, service.address) as sock:
            assert download(sock, MIB) == digest(MIB)
    server.wait_for("a client without a session has come")
    assert server.text.count("a client without a session has come") == 1


@pytest.mark.parametrize("server_pt", [OBFS4PROXY, LYREBIRD])
def test_a_server_may_listen_in_front_of_its_pt(
    machine: Machine, service: Service, server_pt: str
) -> None:
    """Front=yes."""
    chain = machine.chain(
        server_options=f"server;transport=obfs4;exec={server_pt};front=yes",
        client_options=f";exec={OBFS4PROXY}",
        variables=machine.with_lyrebird(),
    )
    assert_carries(lambda: chain.connect(service.address))


@pytest.mark.parametrize("client_pt", [OBFS4PROXY, LYREBIRD])
def test_meek_lite_carries_what_it_is_given(
    machine: Machine, service: Service, client_pt: str
) -> None:
    """To a stand-in for meek's server, of which no package is at hand."""
    path = machine.folder / "meek-stand-in"
    path.write_text(MEEK)
    path.chmod(0o755)
    variables = machine.with_lyrebird()
    remote = ("127.0.0.1", free_port())
    local = ("127.0.0.1", free_port())
    server = machine.pt_bridge(
        "server",
        f"transport={MEEK_SERVER}",
        f"--exec={path}",
        local=service.address,
        remote=remote,
        variables=variables,
    )
    options = machine.client_options(server)
    assert options == (
        f"transport={MEEK_SERVER};session=1;url=http://{remote[0]}:{remote[1]}/"
    )
    options = options.replace(MEEK_SERVER, "meek_lite")
    client = machine.pt_bridge(
        "client",
        f"{options};exec={client_pt}",
        local=local,
        remote=remote,
        variables=variables,
    )
    client.wait_for(f"ready: {client_pt}")
    assert_carries(lambda: connect(local))
    with connect(local) as sock:
        sock.sendall(b"GIVE %d\n" % MIB)
        sock.shutdown(socket.SHUT_WR)
        assert read_to_end(sock) == (MIB, digest(MIB))


@pytest.mark.waits
@pytest.mark.parametrize("client_pt", ["snowflake-client", LYREBIRD])
def test_snowflake_sends_its_offer_to_its_broker(
    machine: Machine, client_pt: str
) -> None:
    """As far as a broker goes: of snowflake's server no package is at hand."""
    with contextlib.closing(SnowflakeBroker()) as broker:
        local = ("127.0.0.1", free_port())
        client = machine.pt_bridge(
            "client",
            f"transport=snowflake;url=http://127.0.0.1:{broker.port}/;"
            f"ice=stun:127.0.0.1:{free_port()};exec={client_pt}",
            local=local,
            remote=("192.0.2.1", 1),
            variables=machine.with_lyrebird(),
        )
        client.wait_for(f"ready: {client_pt}")
        with connect(local) as sock:
            sock.sendall(b"GIVE 1\n")
            path, version, offer = broker.offers.get(timeout=DEADLINE)
        client.wait_for("no snowflake proxies")
    assert (path, version, offer["type"]) == ("/client", "1.0", "offer")
    assert "UDP/DTLS/SCTP webrtc-datachannel" in offer["sdp"]
    assert "a=fingerprint:sha-256 " in offer["sdp"]
    assert client.runs
