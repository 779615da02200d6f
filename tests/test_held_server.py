"""A server whose PT is held at both ends: who gets in, and what the others see."""

from __future__ import annotations

import os
import signal
import socket
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from pt_bridge.connection import reset
from tests.processes import (
    SERVER_LINE,
    SERVER_OPTIONS,
    exchange,
    is_reset,
    receive,
)

if TYPE_CHECKING:
    from tests.processes import Bench, Program

READY = "ready: obfs4proxy, serving port"
DENIED = "10010000"
FEW = 64  # descriptors: enough for two tunnels
GARBAGE = b"GET / HTTP/1.1\r\n\r\n" * 100


def play(bench: Bench, *steps: str) -> None:
    bench.pt.play("say VERSION 1", *steps, SERVER_LINE, "say SMETHODS DONE")


def ready(bench: Bench, *, hold: str = "both", **keywords: Any) -> Program:
    program = bench.server(options=f"{SERVER_OPTIONS};hold={hold}", **keywords)
    program.said(READY)
    return program


def pts_port(bench: Bench) -> int:
    """Give the port on which the PT listens behind us."""
    (found,) = [
        each.laddr.port
        for each in psutil.Process(bench.pt.pid).net_connections("tcp")
        if each.status == psutil.CONN_LISTEN
    ]
    port: int = found
    return port


def observe(sock: socket.socket) -> str:
    """Say how a connection ends."""
    return "reset" if is_reset(sock) else "end"


def is_left_alone(listener: socket.socket) -> bool:
    """Tell whether nobody has called the host."""
    listener.setblocking(False)
    try:
        listener.accept()[0].close()
    except BlockingIOError:
        return True
    return False


# -- who calls the PT behind our back --------------------------------------------------


def test_a_user_of_this_machine_who_calls_the_pt_is_not_let_through(
    bench: Bench,
) -> None:
    """EO-07, SE-10: whom we have not brought to the PT does not get to the host."""
    play(bench)
    listener = bench.listen()
    program = ready(bench, target=listener.getsockname())
    stranger = bench.connect(pts_port(bench))
    stranger.sendall(b"let me in")
    assert bench.pt.event("answered") == DENIED
    observe(stranger)
    assert is_left_alone(listener)
    listener.settimeout(30)
    near = bench.connect(bench.port)
    near.sendall(b"x")
    assert bench.accept(listener).recv(1) == b"x"
    bench.stop(program)


def test_who_has_the_port_of_one_that_is_expected_has_not_its_address(
    bench: Bench,
) -> None:
    """EO-07: both make it known; and the one that is expected stays expected."""
    play(bench, "strangers silent,serve")
    listener = bench.listen()
    program = ready(bench, target=listener.getsockname())
    expected = bench.connect(bench.port)
    expected.sendall(b"x")
    bench.pt.event("turned-away")
    place = ("127.0.0.1", pts_port(bench))
    (port,) = [
        each.laddr.port
        for each in psutil.Process(program.process.pid).net_connections("tcp")
        if each.raddr == place
    ]
    with socket.socket() as stranger:
        stranger.settimeout(30)
        stranger.bind(("127.0.0.2", port))
        stranger.connect(place)
        stranger.sendall(b"let me in")
        assert bench.pt.event("answered") == DENIED
        observe(stranger)
    assert is_left_alone(listener)
    expected.shutdown(socket.SHUT_WR)
    assert receive(expected, 1) == b""
    bench.stop(program)


# -- who comes over the Internet, and is none of our clients ---------------------------


@pytest.mark.parametrize(
    ("stranger", "probe", "seen"),
    [
        ("silent", "ends", "end"),
        ("silent", "speaks and ends", "end"),
        ("hang-up", "ends", "end"),
        ("hang-up", "speaks", "end"),
        ("hang-up", "speaks and ends", "end"),
        ("reset", "speaks", "reset"),
    ],
)
@pytest.mark.parametrize("hold", ["both", "none"])
def test_a_prober_sees_what_it_would_see_of_a_pt_alone(
    bench: Bench, stranger: str, probe: str, seen: str, hold: str
) -> None:
    """SE-11: with hold=none, there is nobody between."""
    play(bench, f"strangers {stranger},serve")
    listener = bench.listen()
    program = ready(bench, hold=hold, target=listener.getsockname())
    prober = bench.connect(bench.port)
    if "speaks" in probe:
        prober.sendall(GARBAGE)
    if "ends" in probe:
        prober.shutdown(socket.SHUT_WR)
    assert observe(prober) == seen
    assert is_left_alone(listener)
    bench.stop(program)


def test_a_prober_that_says_nothing_is_the_pts_affair(bench: Bench) -> None:
    """SE-11: the PT waits for it as long as it likes, and hears it when it speaks."""
    play(bench, "counts", "strangers hang-up")
    program = ready(bench)
    prober = bench.connect(bench.port)
    bench.pt.becomes("open", "1")
    prober.sendall(b"x")
    assert observe(prober) == "end"
    bench.pt.becomes("open", "0")
    bench.stop(program)


def test_a_prober_that_resets_leaves_nothing(bench: Bench) -> None:
    """SE-10, SE-11: the PT sees it, too."""
    play(bench, "counts", "strangers silent")
    program = ready(bench)
    prober = bench.connect(bench.port)
    prober.sendall(GARBAGE)
    bench.pt.becomes("open", "1")
    reset(prober)
    bench.pt.becomes("open", "0")
    bench.stop(program)


# -- the host --------------------------------------------------------------------------


@pytest.mark.parametrize("closes", ["both", "never"])
def test_who_ends_before_the_host_listens_is_served_all_the_same(
    bench: Bench, closes: str
) -> None:
    """EO-09: the end waits for the tunnel, whatever the PT makes of one."""
    play(bench, f"closes {closes}", "strangers greet")
    target = ("127.0.0.1", bench.free_port())
    program = ready(bench, target=target)
    near = bench.connect(bench.port)
    near.sendall(b"x")
    assert receive(near, 5) == b"hello"  # all that a PT says before it calls us
    near.sendall(b"question")
    near.shutdown(socket.SHUT_WR)
    bench.pt.event("introduced")
    far = bench.accept(bench.listen(port=target[1]))
    assert receive(far, 10) == b"xquestion"
    far.sendall(b"answer" * 100_000)
    far.close()
    assert len(receive(near, 600_001)) == 600_000
    bench.stop(program)


@pytest.mark.parametrize("closes", ["each", "both", "never"])
def test_nothing_is_left_of_many_tunnels(bench: Bench, closes: str) -> None:
    """RL-08: neither in the PT nor with us, whoever ends first."""
    play(bench, "counts", f"closes {closes}")
    listener = bench.listen()
    program = ready(bench, target=listener.getsockname())
    ours = psutil.Process(program.process.pid)
    before = ours.num_fds()
    for turn in range(12):
        near = bench.connect(bench.port)
        near.sendall(b"x")
        far = bench.accept(listener)
        assert far.recv(1) == b"x"
        exchange(near, far)
        first, second = (near, far) if turn % 2 else (far, near)
        first.close()
        assert receive(second, 1) == b""
        second.close()
    bench.pt.becomes("open", "0")
    # Pipes are kept for the next tunnels.
    pipes = [each for each in fds(ours.pid) if each.startswith("pipe:")]
    assert ours.num_fds() - len(pipes) <= before
    bench.stop(program)


def fds(pid: int) -> list[str]:
    """Give what a process has open."""
    return [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]


# -- places for connections ------------------------------------------------------------


@pytest.mark.parametrize(
    "end", ["ends", "resets", "is denied", "is turned away", "is served"]
)
def test_whoever_goes_makes_room_for_others(bench: Bench, end: str) -> None:
    """RL-06: there are only two places, and none is lost."""
    steps = {"is turned away": ["strangers hang-up"], "resets": ["strangers silent"]}
    play(bench, "counts", *steps.get(end, []))
    listener = bench.listen()
    target = listener.getsockname() if end != "is denied" else ("127.0.0.1", 9)
    limited = ("/bin/sh", "-c", f'ulimit -n {FEW} && exec "$@"', "sh")
    program = ready(bench, target=target, before=limited)
    for _ in range(3):
        near = bench.connect(bench.port)
        if end != "ends":
            near.sendall(GARBAGE)
        match end:
            case "resets":
                bench.pt.becomes("open", "1")
                reset(near)
            case "is served":
                far = bench.accept(listener)
                assert receive(far, len(GARBAGE)) == GARBAGE
                far.close()
                assert receive(near, 1) == b""
                near.close()
            case _:
                near.shutdown(socket.SHUT_WR)
                observe(near)
        if end != "ends":
            bench.pt.becomes("open", "0")
    bench.stop(program)


def test_ctrl_c_lets_what_is_open_finish(bench: Bench) -> None:
    """Design 2: nothing new comes in, though the PT would let it."""
    play(bench)
    listener = bench.listen()
    host, port = listener.getsockname()
    program = bench.standalone(
        "server",
        f"--local={host}:{port}",
        f"--remote=127.0.0.1:{bench.port}",
        f"--plugin-opts={SERVER_OPTIONS}",
    )
    program.said(READY)
    near = bench.connect(bench.port)
    near.sendall(b"x")
    far = bench.accept(listener)
    assert far.recv(1) == b"x"
    program.signal(signal.SIGINT)
    program.said("finishing 1 tunnel; Ctrl-C again to stop")
    with pytest.raises(ConnectionRefusedError):
        bench.connect(bench.port)
    exchange(near, far)
    near.close()
    far.close()
    assert bench.end(program) == 0


def test_an_iat_mode_that_the_keys_have_kept_is_warned_of(bench: Bench) -> None:
    """PE-04, design 3: no option says so, and the mode is of no use then."""
    bench.pt.play(
        "say VERSION 1",
        "server ARGS:cert=SECRETSECRETSECRETSECRET,iat-mode=1",
        "say SMETHODS DONE",
    )
    program = ready(bench)
    program.said("this server's keys were made with an iat-mode")
    bench.stop(program)
