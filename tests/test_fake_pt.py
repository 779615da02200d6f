"""The fake PT itself: as strict as the real ones, seen by an independent client."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest
import socks  # type: ignore[import-untyped] # it has no types

from tests.fake_pt import _parses
from tests.processes import CLIENT, DEADLINE, SERVER, exchange, receive

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.processes import Bench, FakePt

CLIENT_ENVIRONMENT = {
    "TOR_PT_CLIENT_TRANSPORTS": "obfs4",
    "TOR_PT_EXIT_ON_STDIN_CLOSE": "1",
}
GREETING = b"\x05\x01\x02"


@contextlib.contextmanager
def running(pt: FakePt, variables: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run the fake as a parent of PTs does, without pt-bridge."""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [pt.path], env=variables, stdin=pipe, stdout=pipe, stderr=pipe
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()
        process.wait(DEADLINE)


def lines_of(process: subprocess.Popen[bytes], last: str) -> list[str]:
    assert process.stdout is not None
    lines: list[str] = []
    while not lines or lines[-1] != last:
        line = process.stdout.readline().decode()
        assert line, f"it ended after {lines}"
        lines.append(line.rstrip("\n"))
    return lines


def place_of(process: subprocess.Popen[bytes]) -> tuple[str, int]:
    """Read its start; give where it listens."""
    method = lines_of(process, "CMETHODS DONE")[1]
    host, _, port = method.split()[3].rpartition(":")
    return host, int(port)


def proxied(
    bench: Bench, kind: int, place: tuple[str, int], user: str | None, password: str
) -> socks.socksocket:
    """Make PySocks' client; its user names must be shorter than 128 bytes."""
    sock = socks.socksocket()
    sock.settimeout(DEADLINE)
    sock.set_proxy(
        kind, *place, rdns=False, username=user, password=password if user else None
    )
    return sock


@pytest.mark.parametrize(
    ("user", "password", "arguments"),
    [
        ("cert=AAAA;iat-mode=0", "\0", b"cert=AAAA;iat-mode=0"),
        ("cert=AAAA;iat-", "mode=0", b"cert=AAAA;iat-mode=0"),
        (r"a=\;b;a=2", "\0", rb"a=\;b;a=2"),
        (None, "", b""),
    ],
)
def test_an_independent_client_gets_through(
    pt: FakePt, bench: Bench, user: str | None, password: str, arguments: bytes
) -> None:
    """SK-02, SK-05: PySocks offers both methods, and the fake takes the second."""
    pt.play(*CLIENT)
    listener = bench.listen()
    target = listener.getsockname()
    with running(pt, CLIENT_ENVIRONMENT) as process:
        place = place_of(process)
        with proxied(bench, socks.SOCKS5, place, user, password) as near:
            near.connect(target)
            far = bench.accept(listener)
            exchange(near, far)
            near.shutdown(socket.SHUT_WR)
            assert far.recv(1) == b""
            far.sendall(b"late")
            far.close()
            assert receive(near, 5) == b"late"
    assert pt.named("asked") == [f"{target[0]} {target[1]} {arguments!r}"]


def test_an_independent_client_gets_through_with_socks4(
    pt: FakePt, bench: Bench
) -> None:
    """SK-15."""
    pt.play("say VERSION 1", "client socks4", "say CMETHODS DONE")
    listener = bench.listen()
    host, port = listener.getsockname()
    with running(pt, CLIENT_ENVIRONMENT) as process:
        place = place_of(process)
        with proxied(bench, socks.SOCKS4, place, "k=v", "") as near:
            near.connect((host, port))
            exchange(near, bench.accept(listener))
    assert pt.named("asked") == [f"{host} {port} b'k=v'"]


@pytest.mark.parametrize(
    ("behaviour", "text"),
    [
        ("refuse", "0x01: General SOCKS server failure"),
        ("reject", "SOCKS5 authentication failed"),
        ("garbage", "SOCKS5 proxy server sent invalid data"),
        ("cut", "Connection closed unexpectedly"),
    ],
)
def test_it_misbehaves_once_and_then_behaves(
    pt: FakePt, bench: Bench, behaviour: str, text: str
) -> None:
    pt.play("say VERSION 1", f"client socks5 {behaviour},relay", "say CMETHODS DONE")
    listener = bench.listen()
    with running(pt, CLIENT_ENVIRONMENT) as process:
        place = place_of(process)
        with (
            proxied(bench, socks.SOCKS5, place, "a=b", "\0") as near,
            pytest.raises(socks.ProxyError, match=text),
        ):
            near.connect(listener.getsockname())
        with proxied(bench, socks.SOCKS5, place, "a=b", "\0") as near:
            near.connect(listener.getsockname())
            exchange(near, bench.accept(listener))


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (GREETING + b"\x01\x03a=b\x01\x00", b"\x05\x02"),
        (b"\x04\x01", b""),
        (b"\x05\x01\x01", b"\x05\xff"),
    ],
)
def test_it_wants_each_message_in_its_turn(
    pt: FakePt, bench: Bench, sent: bytes, answer: bytes
) -> None:
    """SK-06: a greeting with more behind it is answered, and then hung up on."""
    pt.play(*CLIENT)
    with running(pt, CLIENT_ENVIRONMENT) as process:
        host, port = place_of(process)
        with bench.connect(port, host) as near:
            near.sendall(sent)
            if answer == b"":
                near.shutdown(socket.SHUT_WR)
            got = b""
            with contextlib.suppress(ConnectionResetError):
                while more := near.recv(100):
                    got += more
            assert got == answer


@pytest.mark.parametrize("login", [b"\x01\x00\x01\x00", b"\x01\x03a=b\x00"])
def test_it_refuses_an_empty_user_name_or_password(
    pt: FakePt, bench: Bench, login: bytes
) -> None:
    """SK-04."""
    pt.play(*CLIENT)
    with running(pt, CLIENT_ENVIRONMENT) as process:
        host, port = place_of(process)
        with bench.connect(port, host) as near:
            near.sendall(GREETING)
            assert receive(near, 2) == b"\x05\x02"
            near.sendall(login)
            assert receive(near, 3) == b"\x01\x01"


@pytest.mark.parametrize(
    ("arguments", "fine"),
    [
        (b"cert=AAAA;iat-mode=0", True),
        (rb"a=b\;c\\;d\==", True),
        (b"abc==", True),
        (b"a=", True),
        (b"a", False),
        (b"=a", False),
        (b"a=b;", False),
        (b"a=b;;c=d", False),
        (rb"a\:b=c", False),
        (b"a=b\\", False),
    ],
)
def test_it_takes_the_arguments_that_real_ones_take(
    arguments: bytes, *, fine: bool
) -> None:
    """SK-01."""
    assert _parses(arguments) is fine


def test_it_serves(pt: FakePt, bench: Bench) -> None:
    """SV-05: what comes to BINDADDR goes to ORPORT."""
    pt.play(*SERVER)
    listener = bench.listen()
    port = bench.free_port()
    variables = {
        "TOR_PT_SERVER_TRANSPORTS": "obfs4",
        "TOR_PT_SERVER_BINDADDR": f"obfs4-127.0.0.1:{port}",
        "TOR_PT_ORPORT": "{}:{}".format(*listener.getsockname()),
        "TOR_PT_EXIT_ON_STDIN_CLOSE": "1",
    }
    with running(pt, variables) as process:
        assert lines_of(process, "SMETHODS DONE") == [
            "VERSION 1",
            f"SMETHOD obfs4 127.0.0.1:{port} ARGS:cert=AAAA,iat-mode=0",
            "SMETHODS DONE",
        ]
        near = bench.connect(port)
        exchange(near, bench.accept(listener))
    assert process.returncode == 0


def test_it_says_why_it_cannot_listen(pt: FakePt, bench: Bench) -> None:
    """SV-08: in the words of the Go programs."""
    pt.play(*SERVER)
    port = bench.listen().getsockname()[1]
    bind = f"127.0.0.1:{port}"
    with running(pt, {"TOR_PT_SERVER_BINDADDR": f"obfs4-{bind}"}) as process:
        assert lines_of(process, "SMETHODS DONE")[1] == (
            f"SMETHOD-ERROR obfs4 listen tcp {bind}: bind: address already in use"
        )
    assert process.returncode == 255


def test_it_reports_how_it_was_started(pt: FakePt) -> None:
    with running(pt, {**CLIENT_ENVIRONMENT, "X": "\udcff"}) as process:
        report = pt.report()
        assert report["pid"] == process.pid
        assert report["group"] == os.getpgid(0)
        assert report["environment"][b"X"] == b"\xff"
        assert sorted(report["descriptors"]) == [0, 1, 2]


def test_it_prints_any_bytes_and_waits_for_the_gate(pt: FakePt) -> None:
    pt.play(r"raw \x00\xff\r\n", "tell here", "await", "write why", "exit 3")
    with running(pt, CLIENT_ENVIRONMENT) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"\x00\xff\r\n"
        pt.event("here")
        pt.open_gate()
        assert process.stderr.read() == b"why\n"
    assert process.returncode == 3


def test_it_ends_when_its_stdin_does_unless_it_is_deaf(pt: FakePt) -> None:
    """LC-10, and the PT that is not as it should be."""
    with running(pt, CLIENT_ENVIRONMENT) as process:
        pt.event("started")
    assert process.returncode == 0
    pt.play("deaf", "fork", "tell here")
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [pt.path], env=CLIENT_ENVIRONMENT, stdin=pipe, stdout=pipe
    ) as process:
        pt.event("here")
        pt.event("forked")
        process.terminate()
        pt.event("ignored")
        assert process.stdin is not None
        process.stdin.close()
        assert pt.event("ignored", count=2) == "EOF"
        process.kill()
    assert process.returncode == -9
