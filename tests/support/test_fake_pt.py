"""The fake PT itself: as strict as the real ones, seen by an independent client."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
import socks  # type: ignore[import-untyped] # it has no types

from pt_bridge.net.sockets import reset
from tests.support import proxies
from tests.support.fake_pt import _parses
from tests.support.processes import (
    CLIENT,
    DEADLINE,
    SERVER,
    SERVER_CERT,
    exchange,
    is_reset,
    receive,
)
from tests.support.tcp import CLOSE_WAIT, noise, state

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.support.processes import Bench, FakePt

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
    """Read its start; return where it listens."""
    return place_in(lines_of(process, "CMETHODS DONE")[-2])


def place_in(method: str) -> tuple[str, int]:
    """Read where a CMETHOD line says that it listens."""
    host, _, port = method.split()[3].rpartition(":")
    return host, int(port)


def proxied(
    bench: Bench, kind: int, place: tuple[str, int], user: str | None, password: str
) -> socks.socksocket:
    """Create PySocks' client; its user names must be shorter than 128 bytes."""
    sock = socks.socksocket()
    sock.settimeout(DEADLINE)
    sock.set_proxy(
        kind, *place, rdns=True, username=user, password=password if user else None
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
            f"SMETHOD obfs4 127.0.0.1:{port} ARGS:cert={SERVER_CERT},iat-mode=0",
            "SMETHODS DONE",
        ]
        near = bench.connect(port)
        exchange(near, bench.accept(listener))
    assert process.returncode == 0


def test_it_says_which_port_it_was_given(pt: FakePt, bench: Bench) -> None:
    """SV-06: where BINDADDR leaves the port to the system."""
    pt.play(*SERVER)
    listener = bench.listen()
    variables = {
        "TOR_PT_SERVER_BINDADDR": "obfs4-127.0.0.1:0",
        "TOR_PT_ORPORT": "{}:{}".format(*listener.getsockname()),
    }
    with running(pt, {**CLIENT_ENVIRONMENT, **variables}) as process:
        line = lines_of(process, "SMETHODS DONE")[1]
        port = int(line.split()[2].removeprefix("127.0.0.1:"))
        exchange(bench.connect(port), bench.accept(listener))


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


# -- the proxy -------------------------------------------------------------------------


def behind_proxy(port: int) -> dict[str, str]:
    """Return the environment of a PT client that must go through a proxy."""
    url = f"socks5://user:s%40cret@127.0.0.1:{port}"
    return {**CLIENT_ENVIRONMENT, "TOR_PT_PROXY": url}


@pytest.mark.parametrize("host", ["server.invalid", "192.0.2.3", "2001:db8::3"])
def test_it_goes_through_the_proxy(pt: FakePt, bench: Bench, host: str) -> None:
    """PE-08: and the first bytes behind the proxy's reply are the tunnel's."""
    pt.play(*CLIENT)
    listener = bench.listen()
    with running(pt, behind_proxy(listener.getsockname()[1])) as process:
        lines = lines_of(process, "CMETHODS DONE")
        assert lines[1] == "PROXY DONE"
        place = place_in(lines[2])
        with ThreadPoolExecutor(1) as pool:
            far = pool.submit(bench.accept, listener)
            asked = pool.submit(
                lambda: proxies.socks5(
                    far.result(), login=(b"user", b"s@cret"), behind=b"first"
                )
            )
            near = proxied(bench, socks.SOCKS5, place, "a=b", "\0")
            with near:
                near.connect((host, 443))
                assert receive(near, 5) == b"first"
                exchange(near, far.result())
    is_name = host == "server.invalid"
    assert asked.result() == (host, is_name, 443, b"user", b"s@cret")


@pytest.mark.parametrize("refusal", ["password", "reply", "rubbish", "end"])
def test_its_client_is_told_that_the_proxy_failed(
    pt: FakePt, bench: Bench, refusal: str
) -> None:
    """SK-10: with 1, which is all that the real ones say."""
    pt.play(*CLIENT)
    listener = bench.listen()

    def fail() -> None:
        with bench.accept(listener) as far:
            if refusal == "password":
                with pytest.raises(proxies.Refused):
                    proxies.socks5(far, login=(b"user", b"other"))
            elif refusal == "reply":
                proxies.socks5(far, reply=5)
            elif refusal == "rubbish":
                far.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")
                far.recv(100)

    with running(pt, behind_proxy(listener.getsockname()[1])) as process:
        place = place_in(lines_of(process, "CMETHODS DONE")[2])
        with (
            ThreadPoolExecutor(1) as pool,
            proxied(bench, socks.SOCKS5, place, "a=b", "\0") as near,
        ):
            failing = pool.submit(fail)
            with pytest.raises(socks.ProxyError, match="0x01: General SOCKS"):
                near.connect(("server.invalid", 443))
            failing.result()


def test_it_refuses_a_proxy_only_where_there_is_one(pt: FakePt) -> None:
    """PE-07, ER-05: one scenario serves both runs, with a proxy and without."""
    pt.play("say VERSION 1", "proxy-error not supported", *CLIENT[1:])
    with running(pt, behind_proxy(9)) as process:
        lines_of(process, "PROXY-ERROR not supported")
        assert process.wait(DEADLINE) == 1
    with running(pt, CLIENT_ENVIRONMENT) as process:
        assert lines_of(process, "CMETHODS DONE")[1].startswith("CMETHOD obfs4")


@pytest.mark.parametrize("step", ["say PROXY DONE", "proxy-ignored"])
def test_a_scenario_can_say_itself_what_becomes_of_the_proxy(
    pt: FakePt, step: str
) -> None:
    """PE-08."""
    pt.play("say VERSION 1", step, *CLIENT[1:])
    with running(pt, behind_proxy(9)) as process:
        lines = lines_of(process, "CMETHODS DONE")
    assert lines.count("PROXY DONE") == (step == "say PROXY DONE")


def test_it_can_go_around_the_proxy(pt: FakePt, bench: Bench) -> None:
    """SE-09: so that pt-bridge can be seen to notice."""
    pt.play("say VERSION 1", "proxy-ignored", *CLIENT[1:])
    listener = bench.listen()
    with (
        running(pt, behind_proxy(9)) as process,
        proxied(bench, socks.SOCKS5, place_of(process), "a=b", "\0") as near,
    ):
        near.connect(listener.getsockname())
        exchange(near, bench.accept(listener))


# -- how tunnels are carried, and end --------------------------------------------------


@contextlib.contextmanager
def tunnel(
    pt: FakePt, bench: Bench, *steps: str, after: Sequence[str] = ()
) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Open a tunnel through the fake; return its near end and its far one."""
    pt.play("say VERSION 1", "counts", *steps, *CLIENT[1:], *after)
    listener = bench.listen()
    with running(pt, CLIENT_ENVIRONMENT) as process:
        place = place_of(process)
        with proxied(bench, socks.SOCKS5, place, "a=b", "\0") as sock:
            sock.connect(listener.getsockname())
            # PySocks says another peer's address for it.
            near = socket.socket(fileno=sock.detach())
        with near, bench.accept(listener) as far:
            near.settimeout(DEADLINE)
            yield near, far


def send_to_end(sock: socket.socket, data: bytes) -> None:
    sock.sendall(data)
    sock.shutdown(socket.SHUT_WR)


def test_it_tells_how_many_connections_are_open(pt: FakePt, bench: Bench) -> None:
    """RL-10: so that a test can see a leak."""
    with tunnel(pt, bench) as (near, far):
        pt.becomes("open", "2")
        near.close()
        assert far.recv(1) == b""
        far.close()
        pt.becomes("open", "0")
    assert pt.named("open") == ["1", "2", "1", "0"]


def test_a_connection_that_breaks_ends_the_other_one(pt: FakePt, bench: Bench) -> None:
    """RL-10."""
    with tunnel(pt, bench, "closes each") as (near, far):
        exchange(near, far)
        reset(near)
        assert far.recv(1) == b""
        pt.becomes("open", "0")


def test_closing_both_delivers_what_came_before_the_end(
    pt: FakePt, bench: Bench
) -> None:
    """RL-08: as obfs4proxy does."""
    data = noise(1_000_000)
    with tunnel(pt, bench, "closes both") as (near, far), ThreadPoolExecutor(1) as pool:
        sent = pool.submit(send_to_end, near, data)
        assert receive(far, len(data) + 1) == data
        sent.result()
        assert near.recv(1) == b""
        pt.becomes("open", "0")


def test_closing_both_loses_what_goes_the_other_way(pt: FakePt, bench: Bench) -> None:
    """RL-08: 4,000 of 20,000 bytes arrived through obfs4proxy."""
    with tunnel(pt, bench, "closes both", "holds-back 4") as (near, far):
        far.sendall(bytes(3000))
        pt.becomes("held", "3000")
        near.shutdown(socket.SHUT_WR)
        pt.becomes("open", "0")
        assert near.recv(1) == b""


def test_closing_both_resets_a_connection_of_which_something_is_unread(
    pt: FakePt, bench: Bench
) -> None:
    """RL-08: its system does so, whatever the PT."""
    with tunnel(pt, bench, "closes both", "holds-back 1") as (near, far):
        far.sendall(bytes(3000))
        pt.becomes("held", "1024")
        near.shutdown(socket.SHUT_WR)
        pt.becomes("open", "0")
        assert is_reset(far)


def test_closing_never_passes_no_end_on(pt: FakePt, bench: Bench) -> None:
    """RL-07: as lyrebird does."""
    with tunnel(pt, bench, "closes never") as (near, far):
        near.sendall(b"question")
        near.shutdown(socket.SHUT_WR)
        assert receive(far, 8) == b"question"
        far.sendall(b"late")
        assert receive(near, 4) == b"late"
        assert state(far) != CLOSE_WAIT
        assert pt.named("open") == ["1", "2"]
        far.shutdown(socket.SHUT_WR)
        assert near.recv(1) == far.recv(1) == b""
        pt.becomes("open", "0")


@pytest.mark.parametrize("how", ["each", "both", "never"])
def test_what_was_held_back_comes_before_the_end(
    pt: FakePt, bench: Bench, how: str
) -> None:
    """Whatever becomes of the end."""
    data = noise(3000)
    steps = (f"closes {how}", "holds-back 4")
    with tunnel(pt, bench, *steps, after=("await", "flows")) as (near, far):
        near.sendall(data)
        pt.becomes("held", "3000")
        near.shutdown(socket.SHUT_WR)
        pt.open_gate()
        assert receive(far, len(data)) == data
        far.shutdown(socket.SHUT_WR)
        assert receive(far, 1) == receive(near, 1) == b""
        pt.becomes("open", "0")


def test_it_holds_back_no_more_than_it_should(pt: FakePt, bench: Bench) -> None:
    data = noise(5000)
    with tunnel(pt, bench, "holds-back 1", after=("await", "flows")) as (near, far):
        near.sendall(data)
        pt.becomes("held", "1024")
        pt.open_gate()
        assert receive(far, len(data)) == data
        exchange(near, far)
    assert pt.named("held")[-1] == "1024"


# -- what it tells ---------------------------------------------------------------------


def test_it_reports_how_it_was_started(pt: FakePt) -> None:
    with running(pt, {**CLIENT_ENVIRONMENT, "X": "\udcff"}) as process:
        report = pt.report()
        assert report["pid"] == process.pid
        assert report["group"] == os.getpgid(0)
        assert report["environment"][b"X"] == b"\xff"
        assert sorted(report["descriptors"]) == [0, 1, 2]


LEAK = ("leak TOR_PT_CLIENT_TRANSPORTS", "exit 3")


def test_it_prints_any_bytes_and_waits_for_the_gate(pt: FakePt) -> None:
    pt.play(r"raw \x00\xff\r\n", "tell here", "await", "write why", *LEAK)
    with running(pt, CLIENT_ENVIRONMENT) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"\x00\xff\r\n"
        pt.event("here")
        pt.open_gate()
        assert process.stderr.read() == b"why\nobfs4\n"
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
