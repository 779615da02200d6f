"""What a client for shadowsocks and a PT for tor have in common, seen at the former."""

from __future__ import annotations

import os
import signal
import socket
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.support.bridges import play_client, ready_client
from tests.support.processes import (
    CLIENT,
    PLAIN_OPTIONS,
    SECRET,
    is_reset,
    mode,
    receive,
)

if TYPE_CHECKING:
    from tests.support.processes import Bench


# -- its port --------------------------------------------------------------------------


def test_the_port_is_open_before_the_pt_is_ready(bench: Bench) -> None:
    """FE-08: and what comes early is carried, in full."""
    bench.pt.play("await", *CLIENT)
    listener = bench.listen()
    program = bench.client(listener.getsockname(), options=PLAIN_OPTIONS)
    bench.pt.event("started")
    early = [bench.connect(bench.port) for _ in range(3)]
    for number, near in enumerate(early):
        near.sendall(bytes([number]) * 8)
    bench.pt.open_gate()
    got = set()
    for _ in early:
        far = bench.accept(listener)
        got.add(receive(far, 8))
        far.sendall(b"answer")
        far.close()
    assert got == {bytes([number]) * 8 for number in range(3)}
    assert [receive(near, 7) for near in early] == [b"answer"] * 3
    bench.stop(program)


def test_early_connections_are_reset_when_the_pt_fails(bench: Bench) -> None:
    """FE-08, SK-13: an empty answer would look like a valid one."""
    bench.pt.play("await", "exit 1")
    program = bench.client()
    bench.pt.event("started")
    near, silent = bench.connect(bench.port), bench.connect(bench.port)
    near.sendall(b"question")
    bench.pt.open_gate()
    assert is_reset(near)
    assert is_reset(silent)
    assert bench.failure(program)[0] == 76


def test_a_probe_is_not_dialled(bench: Bench) -> None:
    """FE-09: shadowsocks-rust makes thousands, and one would kill snowflake."""
    bench.pt.play("await", *CLIENT)
    listener = bench.listen()
    program = bench.client(listener.getsockname(), options=PLAIN_OPTIONS)
    bench.pt.event("started")
    for _ in range(20):
        bench.connect(bench.port).close()
    bench.pt.open_gate()
    program.said("ready")
    for _ in range(20):
        bench.connect(bench.port).close()
    bench.speak()
    assert bench.accept(listener).recv(1) == b"x"
    assert len(bench.pt.named("accepted")) == 1
    bench.stop(program)


def test_it_listens_where_it_was_told_to_and_nowhere_else(bench: Bench) -> None:
    """FE-07, FE-14, SE-07: TCP on loopback, for the host; and no UDP."""
    play_client(bench)
    program = ready_client(bench, ("192.0.2.1", 443))
    sockets = psutil.Process(program.process.pid).net_connections("inet")
    assert {each.type for each in sockets} == {socket.SOCK_STREAM}
    assert {each.status for each in sockets} == {psutil.CONN_LISTEN}
    assert [tuple(each.laddr) for each in sockets] == [("127.0.0.1", bench.port)]
    bench.stop(program)


def test_it_listens_on_ipv6_when_it_is_told_to(bench: Bench) -> None:
    """FE-04, FE-07."""
    play_client(bench)
    port = bench.free_port("::1")
    program = bench.plugin(
        {
            "SS_REMOTE_HOST": "::1",
            "SS_REMOTE_PORT": "9",
            "SS_LOCAL_HOST": "::1",
            "SS_LOCAL_PORT": str(port),
            "SS_PLUGIN_OPTIONS": "transport=obfs3;exec=obfs4proxy",
        }
    )
    program.said("ready")
    bench.connect(port, "::1").close()
    with pytest.raises(ConnectionRefusedError):
        bench.connect(port)
    bench.stop(program)


# -- the user's proxy ------------------------------------------------------------------


def test_the_upstream_proxy_is_handed_to_the_pt(bench: Bench) -> None:
    """PE-07, SE-05: a name is resolved by us, and the password is not shown."""
    bench.pt.play("say VERSION 1", "say PROXY DONE", "client", "say CMETHODS DONE")
    program = bench.client(
        options="transport=obfs3;exec=obfs4proxy;"
        f"upstream-proxy=socks5://user:{SECRET}@localhost:1080"
    )
    program.said("ready")
    bench.stop(program)
    url = f"socks5://user:{SECRET}@127.0.0.1:1080"
    assert bench.pt.environment["TOR_PT_PROXY"] == url


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("say PROXY-ERROR cannot use socks5://192.0.2.7:1080", "cannot use socks5://"),
        ("proxy-ignored", "so its connections could go around it"),
    ],
)
def test_nothing_goes_around_the_upstream_proxy(
    bench: Bench, line: str, text: str
) -> None:
    """PE-08, ER-05, SE-09."""
    bench.pt.play("say VERSION 1", line, "client", "say CMETHODS DONE")
    options = "transport=obfs3;exec=obfs4proxy;upstream-proxy=socks5://192.0.2.7:1080"
    code, sentence = bench.failure(bench.client(options=options))
    assert code == 69
    assert len(bench.pt.named("started")) == 1
    assert text in sentence


def test_an_upstream_proxy_that_has_no_address_ends_it(bench: Bench) -> None:
    """ER-05: before the PT is started."""
    code, sentence = bench.failure(
        bench.client(
            options="transport=obfs3;exec=obfs4proxy;"
            "upstream-proxy=http://nobody.invalid:1080"
        )
    )
    assert code == 69
    assert "the name of the upstream proxy cannot be resolved" in sentence
    assert "nobody" not in sentence
    assert bench.pt.named("started") == []


# -- its state -------------------------------------------------------------------------


def test_the_pts_folder_is_private_and_gone_afterwards(bench: Bench) -> None:
    """PE-03, SE-01."""
    play_client(bench)
    program = ready_client(bench, ("127.0.0.1", 9), umask=0)
    assert bench.pt.state.parent == bench.folder / "tmp"
    assert mode(bench.pt.state) == 0o700
    bench.stop(program)
    assert not bench.pt.state.exists()


def test_what_a_killed_client_left_is_removed_by_the_next(bench: Bench) -> None:
    """HQ-04: and what one that runs has is not."""
    play_client(bench)
    killed = ready_client(bench, ("127.0.0.1", 9))
    left = bench.pt.state
    killed.signal(signal.SIGKILL)
    killed.wait()
    assert left.exists()
    first = ready_client(bench, ("127.0.0.1", 9))
    assert not left.exists()
    bench.pt.event("started", count=2)
    kept = bench.pt.state
    bench.port = bench.free_port()
    second = ready_client(bench, ("127.0.0.1", 9))
    assert kept.exists()
    for program in (first, second):
        program.signal(signal.SIGTERM)
        assert program.wait() == 0
    assert os.listdir(bench.folder / "tmp") == []


def test_a_client_may_have_a_folder_for_good(bench: Bench) -> None:
    """Below the state directory."""
    play_client(bench)
    program = ready_client(
        bench, ("127.0.0.1", 9), options="transport=obfs3;exec=obfs4proxy;state=a/b"
    )
    bench.stop(program)
    assert bench.pt.state == bench.folder / "state/pt-bridge/a/b"
    assert mode(bench.pt.state) == 0o700
