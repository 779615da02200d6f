"""A PT for tor: a real pt-bridge, a fake PT, and what a tor says to both."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from pt_bridge.errors import ConnectRefused, ProtocolError
from pt_bridge.protocol import socks_client
from pt_bridge.protocol.address import Address
from tests.support.processes import CLIENT, SECRET, exchange, is_reset

if TYPE_CHECKING:
    import socket
    from collections.abc import Generator

    from pt_bridge.protocol.handshake import Ask
    from tests.support.processes import Bench, Program

READY = "ready: obfs4proxy, a PT for tor, on port"
OPTIONS = "transport=obfs4;exec=obfs4proxy"
ARGUMENTS = f"cert={SECRET};iat-mode=0".encode()


def start(bench: Bench) -> Program:
    program = bench.standalone(
        "client", f"--socks=127.0.0.1:{bench.port}", f"--plugin-opts={OPTIONS}"
    )
    program.said(READY)
    return program


def speak(sock: socket.socket, handshake: Generator[Ask, bytes, None]) -> None:
    """Go through a handshake."""
    try:
        ask = next(handshake)
        while True:
            sock.sendall(ask.send)
            answer = b""
            while len(answer) < ask.read:
                more = sock.recv(ask.read - len(answer))
                assert more, "it has closed"
                answer += more
            ask = handshake.send(answer)
    except StopIteration:
        pass


def call(bench: Bench, bridge: Address, arguments: bytes = ARGUMENTS) -> socket.socket:
    """Ask for a bridge, as tor does."""
    sock = bench.connect(bench.port)
    speak(sock, socks_client.connect(bridge, arguments))
    return sock


def test_each_connection_goes_to_the_bridge_that_it_names(bench: Bench) -> None:
    bench.pt.play(*CLIENT)
    program = start(bench)
    for arguments in (ARGUMENTS, b"cert=2" + SECRET[1:].encode() + b";iat-mode=1"):
        listener = bench.listen()
        near = call(bench, Address(*listener.getsockname()), arguments)
        exchange(near, bench.accept(listener))
    bench.stop(program)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (b"cert=A", "a bridge line of tor's is wrong: obfs4 needs iat-mode="),
        (b"cert=A\\", "a connection was refused: the arguments end with a lone"),
    ],
)
def test_a_wrong_bridge_line_is_told_and_the_pt_does_not_hear_of_it(
    bench: Bench, arguments: bytes, sentence: str
) -> None:
    """PF-6: some PTs end at the first connection with such arguments."""
    bench.pt.play(*CLIENT)
    program = start(bench)
    with pytest.raises(ProtocolError):
        call(bench, Address("127.0.0.1", 9), arguments)
    program.said(sentence)
    assert not bench.pt.named("asked")
    bench.stop(program)


def test_a_bridge_that_is_not_reached_is_told_to_tor_and_in_the_log(
    bench: Bench,
) -> None:
    bench.pt.play("say VERSION 1", "client socks5 refuse", "say CMETHODS DONE")
    program = start(bench)
    with pytest.raises(ConnectRefused):
        call(bench, Address("127.0.0.1", 9))
    program.said("a connection failed")
    assert "shadowsocks" not in program.text
    bench.stop(program)


def test_who_says_nothing_sensible_is_let_go(bench: Bench) -> None:
    bench.pt.play(*CLIENT)
    program = start(bench)
    with bench.connect(bench.port) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert is_reset(sock) or sock.recv(1) == b""
    program.said("a connection was refused: what came to the SOCKS port is not SOCKS5")
    bench.stop(program)


def test_noise_does_not_hide_what_is_wrong_with_a_bridge_line(bench: Bench) -> None:
    bench.pt.play(*CLIENT)
    program = start(bench)
    with bench.connect(bench.port) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        program.said("what came to the SOCKS port is not SOCKS5")
    with pytest.raises(ProtocolError):
        call(bench, Address("127.0.0.1", 9), b"cert=A")
    program.said("a bridge line of tor's is wrong: obfs4 needs iat-mode=")
    bench.stop(program)


def test_a_silent_crowd_keeps_no_tor_out(bench: Bench) -> None:
    """Who has been silent for longest has to go, and nobody else."""
    bench.pt.play(*CLIENT)
    command = ["prlimit", "--nofile=256", sys.executable, "-m", "pt_bridge", "client"]
    command += [f"--socks=127.0.0.1:{bench.port}", f"--plugin-opts={OPTIONS}"]
    program = bench.run(command, bench.variables)
    program.said(READY)
    with contextlib.ExitStack() as stack:
        for _ in range(256):
            stack.enter_context(bench.connect(bench.port))
        program.said("connections are open, all that the limit of open files allows")
    (number,) = re.findall(r"(\d+) connections are open, all", program.text)
    with contextlib.ExitStack() as stack:
        first, *_, last, _ = (
            stack.enter_context(bench.connect(bench.port))
            for _ in range(int(number) + 1)
        )
        assert first.recv(1) == b""
        # Otherwise all of them would go 5 s after they came, one like the other.
        readable, _, _ = select.select([last], [], [], 0.5)
        assert not readable
    listener = bench.listen()
    near = call(bench, Address(*listener.getsockname()))
    exchange(near, bench.accept(listener))
    bench.stop(program)


def test_the_pt_is_started_again_and_who_comes_meanwhile_waits(bench: Bench) -> None:
    bench.pt.play(*CLIENT)
    program = start(bench)
    first = bench.pt.pid
    os.kill(first, signal.SIGKILL)
    listener = bench.listen()
    near = call(bench, Address(*listener.getsockname()))
    exchange(near, bench.accept(listener))
    assert int(bench.pt.event("started", count=2)) != first
    bench.stop(program)


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["--socks=0.0.0.0:9050"], 65, "--socks would let other machines use the PT"),
        (
            ["--socks=127.0.0.1:9", "--remote=192.0.2.1:1"],
            64,
            "leave --local and --remote out",
        ),
        (["--socks=127.0.0.1:9", "--udp"], 65, "without a session: leave out udp"),
        (["--socks=127.0.0.1:9", "--preconnect=2"], 65, "leave out preconnect"),
        (["--socks=9050"], 65, "--socks is wrong: it must be HOST:PORT"),
    ],
)
def test_what_cannot_be_is_said(
    bench: Bench, arguments: list[str], code: int, sentence: str
) -> None:
    options = "--plugin-opts=transport=obfs4"
    program = bench.standalone("client", *arguments, options)
    ended, text = bench.failure(program)
    assert ended == code
    assert sentence in text
