"""``pt-bridge client`` and ``pt-bridge server``, with no shadowsocks around them."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest

from integration.support.endpoints import (
    MIB,
    SocksProxy,
    assert_carries,
    connect,
    digest,
    download,
    free_port,
    payload,
    read,
    read_to_end,
    read_until_reset,
    upload,
)
from integration.support.programs import DEADLINE, find
from tests.support.child_processes import children

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psutil

    from integration.support.endpoints import Service
    from integration.support.machine import Machine, Pair
    from integration.support.programs import Program

TUNNELS = 100
AT_ONCE = 450  # the PT calls back for all of them before it goes on with any
UPLOADS = 5  # of each size
USER, PROXY_PASSWORD = "a-user", "a-proxy-password"


@pytest.fixture
def pair(machine: Machine, service: Service) -> Pair:
    """Return a client and a server that are ready."""
    return machine.pair(service.address)


@pytest.fixture
def proxy(service: Service) -> Iterator[SocksProxy]:
    """Return the user's own SOCKS5 proxy."""
    proxy = SocksProxy(USER, PROXY_PASSWORD)
    yield proxy
    proxy.close()


def test_10_mib_go_each_way_around_a_plain_service(
    pair: Pair, service: Service
) -> None:
    with connect(pair.local) as sock:
        assert upload(sock, 10 * MIB) == digest(10 * MIB)
    with connect(pair.local) as sock:
        assert download(sock, 10 * MIB) == digest(10 * MIB)
    for program in (pair.client, pair.server):
        assert program.stop() == 0
        assert program.stdout == b""  # FE-19


def test_an_end_from_the_server_reaches_the_client(pair: Pair) -> None:
    """RL-02: an answer that ends by closing, with nothing else in between."""
    with connect(pair.local) as sock:
        sock.sendall(b"GIVE 3000019\n")
        assert read_to_end(sock) == (3_000_019, digest(3_000_019))


def test_what_a_client_sends_before_it_closes_arrives_whole(
    pair: Pair, service: Service
) -> None:
    """RL-04: the PT closes all at the first EOF, and gets it at once."""
    for size in (1, 100_000, 10 * MIB) * UPLOADS:
        with connect(pair.local) as sock:
            sock.sendall(b"KEEP\n")
            for chunk in payload(size):
                sock.sendall(chunk)
        assert service.kept.get(timeout=DEADLINE) == (size, digest(size))


def test_tunnels_that_are_opened_all_at_once_are_all_there(pair: Pair) -> None:
    """RL-08: each is called back for, and none is taken for an idler."""
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(connect(pair.local)) for _ in range(AT_ONCE)]
        for sock in socks:
            sock.sendall(b"GIVE 1000\n")
        for sock in socks:
            assert read_to_end(sock) == (1000, digest(1000))


def test_an_answer_comes_after_the_client_has_half_closed(
    pair: Pair, service: Service
) -> None:
    """RL-03, RL-04: what was asked before the half-close is still answered whole."""
    with connect(pair.local) as sock:
        sock.sendall(b"LATE 1048576\n")
        sock.shutdown(socket.SHUT_WR)
        # By the time that another tunnel has done its work, the end was seen.
        with connect(pair.local) as other:
            assert download(other, 1000) == digest(1000)
        service.answer.set()
        assert read_to_end(sock) == (MIB, digest(MIB))


def test_downloads_that_the_pts_death_cuts_end_with_a_reset(
    machine: Machine, pair: Pair
) -> None:
    """RL-11: a cut transfer must not look complete.

    pt-bridge has passed on all that there is, so it hears the tunnels' ends at once: of
    some of them before it hears of the death.
    """
    socks = []
    try:
        for _ in range(TUNNELS):
            socks.append(connect(pair.local))
            socks[-1].sendall(b"HALF 20000\n")
        for sock in socks:
            read(sock, 10_000)
        _pt_of(machine, pair.client).kill()
        assert [read_until_reset(sock) for sock in socks] == [True] * TUNNELS
    finally:
        for sock in socks:
            sock.close()
    pair.client.wait_for("obfs4proxy was killed by SIGKILL; starting the PT again")


def test_a_download_that_is_cut_at_full_speed_ends_with_a_reset(
    machine: Machine, pair: Pair
) -> None:
    """RL-11: the same with the client behind, and buffers full everywhere."""
    with connect(pair.local) as sock:
        sock.sendall(b"GIVE %d\n" % (1024 * MIB))
        read(sock, 10 * MIB)
        _pt_of(machine, pair.client).kill()
        assert read_until_reset(sock)


def _pt_of(machine: Machine, program: Program) -> psutil.Process:
    (bridge,) = [
        process
        for process in machine.processes()["pt-bridge"]
        if process.pid == program.pid
    ]
    (pt,) = children(bridge.pid)
    return pt


def test_all_goes_through_the_users_proxy(
    machine: Machine, service: Service, proxy: SocksProxy
) -> None:
    """PE-07, PE-08: with a user name and a password."""
    machine.secrets.add(PROXY_PASSWORD)
    url = f"socks5://{USER}:{PROXY_PASSWORD}@127.0.0.1:{proxy.port}"
    pair = machine.pair(
        service.address, client_options=f";exec=obfs4proxy;upstream-proxy={url}"
    )
    assert_carries(lambda: connect(pair.local))
    # One connection may have carried both, one after the other.
    assert set(proxy.targets) == {pair.remote}
    assert proxy.carried > 2 * MIB


@pytest.mark.parametrize("what", ["is dead", "refuses the password"])
def test_nothing_goes_around_a_proxy_that(
    machine: Machine, service: Service, proxy: SocksProxy, what: str
) -> None:
    """SE-09: the connection is reset, and the server hears of nobody."""
    machine.secrets.add("not-its-password")
    port = proxy.port if what == "refuses the password" else free_port()
    local = ("127.0.0.1", free_port())
    with socket.create_server(("127.0.0.1", 0)) as server:
        options = (
            f"transport=obfs3;upstream-proxy=socks5://{USER}:not-its-password"
            f"@127.0.0.1:{port};exec=obfs4proxy"
        )
        client = machine.pt_bridge(
            "client", options, local=local, remote=server.getsockname()
        )
        client.wait_for("ready: ")
        with connect(local) as sock:
            sock.sendall(b"GIVE 1\n")
            assert read_until_reset(sock)
        client.wait_for("a connection failed")
        assert client.runs
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()
    assert proxy.targets == []


@pytest.mark.parametrize("arguments", [["--help"], ["help", "options"], ["--version"]])
def test_the_installed_program_explains_itself(arguments: list[str]) -> None:
    done = subprocess.run(
        [find("pt-bridge"), *arguments],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=True,
    )
    assert done.stderr == ""
    assert "pt-bridge" in done.stdout
