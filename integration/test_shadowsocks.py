"""The whole chain: ss-local, pt-bridge and the PT on both sides, ss-server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psutil
import pytest

from integration.support.endpoints import (
    MIB,
    assert_carries,
    connect,
    connect_through,
    digest,
    download,
    free_port,
    payload,
    read,
    read_to_end,
    upload,
)
from integration.support.machine import (
    METHOD,
    PASSWORD,
    Chain,
    await_ss_local,
    await_ss_server,
    shadowsocks_json,
)
from integration.support.programs import DEADLINE, wait_until

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from integration.support.endpoints import Service
    from integration.support.machine import Machine

TUNNELS = 200


def test_the_two_commands_carry_100_mib_each_way(
    machine: Machine, service: Service
) -> None:
    """The very options of the issue, and what the server then says."""
    port, socks_port = free_port(), free_port()
    server = machine.ss_server(port, "server;transport=obfs4")
    options = machine.client_options(server)
    assert options.startswith("transport=obfs4;session=1;cert=")
    await_ss_server(server)
    client = machine.ss_local(port, socks_port, options)
    await_ss_local(client)
    with connect_through(socks_port, service.address) as sock:
        assert upload(sock, 100 * MIB) == digest(100 * MIB)
    with connect_through(socks_port, service.address) as sock:
        assert download(sock, 100 * MIB) == digest(100 * MIB)


def test_200_tunnels_at_once_all_work(machine: Machine, service: Service) -> None:
    """RL-10: each carries its own bytes, twice, while all are open."""
    chain = machine.chain()
    socks: list[socket.socket] = []
    try:
        for _ in range(TUNNELS):
            socks.append(chain.connect(service.address))
            socks[-1].sendall(b"ECHO\n")
        for size in (1000, 20_000):
            for number, sock in enumerate(socks):
                sock.sendall(b"".join(payload(size + number)))
            for number, sock in enumerate(socks):
                assert read(sock, size + number) == digest(size + number)
    finally:
        for sock in socks:
            sock.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_a_server_may_be_named_by_any_kind_of_address(
    machine: Machine, service: Service, host: str
) -> None:
    """FE-03, FE-04, PE-09, SK-08."""
    chain = machine.chain(server_hosts=[host], client_hosts=[host])
    _carries(chain, service)


@pytest.mark.parametrize(
    "hosts",
    [
        ["127.0.0.2", "127.0.0.1"],
        ["::1", "127.0.0.1"],
        ["127.0.0.2", "::1", "localhost"],
    ],
    ids="|".join,
)
def test_a_client_goes_on_to_the_next_address_where_one_is_dead(
    machine: Machine, service: Service, hosts: Sequence[str]
) -> None:
    """FE-17: only 127.0.0.1 has a server, which is named last."""
    chain = machine.chain(client_hosts=hosts)
    _carries(chain, service)
    _carries(chain, service)


@pytest.mark.parametrize(
    ("server_hosts", "client_hosts"),
    [
        (["0.0.0.0"], ["127.0.0.1"]),
        (["::"], ["::1"]),
        (["0.0.0.0", "::"], ["127.0.0.1", "::1"]),
        (["::", "0.0.0.0"], ["127.0.0.1", "::1"]),
    ],
    ids="|".join,
)
def test_a_server_on_a_wildcard_is_reached_at_every_address(
    machine: Machine,
    service: Service,
    server_hosts: Sequence[str],
    client_hosts: Sequence[str],
) -> None:
    """FE-18: over each family that the words name."""
    chain = machine.chain(server_hosts=server_hosts, client_hosts=client_hosts[:1])
    _carries(chain, service)
    for host in client_hosts[1:]:
        socks_port = free_port()
        client = machine.ss_local(chain.port, socks_port, chain.options, hosts=[host])
        await_ss_local(client)
        with connect_through(socks_port, service.address) as sock:
            assert download(sock, 1000) == digest(1000)


def test_what_the_server_says_is_pasted_into_json_files_as_it_is(
    machine: Machine, service: Service
) -> None:
    """The same in the configuration files of both hosts."""
    port, socks_port = free_port(), free_port()
    server_file = machine.folder / "server.json"
    server_file.write_text(shadowsocks_json(port, "server;transport=obfs4"))
    server = machine.start("ss-server", "-c", str(server_file))
    options = machine.client_options(server)
    await_ss_server(server)
    client_file = machine.folder / "client.json"
    client_file.write_text(
        shadowsocks_json(
            port,
            options,
            server=["127.0.0.2", "127.0.0.1"],
            local_address="127.0.0.1",
            local_port=socks_port,
        )
    )
    client = machine.start("ss-local", "-c", str(client_file))
    await_ss_local(client)
    assert_carries(lambda: connect_through(socks_port, service.address))


def test_an_answer_that_ends_by_closing_comes_whole_and_ends(
    machine: Machine, service: Service
) -> None:
    """RL-02: as HTTP/1.0 answers do; through obfs4proxy at both ends."""
    chain = machine.chain(
        server_options="server;transport=obfs4;exec=obfs4proxy",
        client_options=";exec=obfs4proxy",
    )
    for size in (0, 100_019, 5 * MIB):
        with chain.connect(service.address) as sock:
            sock.sendall(b"GIVE %d\n" % size)
            assert read_to_end(sock) == (size, digest(size))


def test_the_pt_is_told_nothing_of_the_host(machine: Machine, service: Service) -> None:
    """PE-01, SE-04, SE-11: no SS_* variable, no argument on a command line."""
    chain = machine.chain()
    _carries(chain, service)
    processes = machine.processes()
    pts = [
        process
        for name, some in processes.items()
        if name not in ("ss-local", "ss-server", "pt-bridge")
        for process in some
    ]
    assert len(pts) == 2, processes
    for pt in pts:
        assert len(pt.cmdline()) == 1
        variables = pt.environ()
        assert not [name for name in variables if name.startswith("SS_")]
        assert PASSWORD not in "".join(variables.values())
        assert variables["TOR_PT_MANAGED_TRANSPORT_VER"] == "1"


def test_a_host_in_the_background_works_and_the_log_goes_to_a_file(
    machine: Machine, service: Service
) -> None:
    """FE-15, FE-19: working directory /, umask 0, stdout and stderr on /dev/null."""
    server = machine.ss_server(port := free_port(), "server;transport=obfs4")
    options = machine.client_options(server)
    await_ss_server(server)
    pid_file, socks_port = machine.folder / "pid", free_port()
    parent = machine.start(
        "ss-local",
        *("-s", "127.0.0.1", "-p", str(port), "-l", str(socks_port), "-k", PASSWORD),
        *("-m", METHOD, "-f", str(pid_file), "--plugin", "pt-bridge"),
        *("--plugin-opts", f"{options};logfile=client.log"),
    )
    assert parent.wait() == 0
    log = machine.folder / "state/pt-bridge/log/client.log"
    wait_until(
        lambda: log.exists() and "ready: " in log.read_text(), "ready: in the log"
    )
    connect(("127.0.0.1", socks_port)).close()
    with connect_through(socks_port, service.address) as sock:
        assert upload(sock, MIB) == digest(MIB)
    assert log.stat().st_mode & 0o777 == 0o600
    host = psutil.Process(int(pid_file.read_text()))
    host.terminate()
    server.stop()
    machine.nothing_is_left()
    host.wait(DEADLINE)


def _carries(chain: Chain, service: Service) -> None:
    assert_carries(lambda: chain.connect(service.address))
