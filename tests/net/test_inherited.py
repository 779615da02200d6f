"""Sockets that systemd listens on for us: a real process that gets some."""

from __future__ import annotations

import os
import socket
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.processes import CLIENT, CLIENT_OPTIONS

if TYPE_CHECKING:
    from tests.support.processes import Bench

# What systemd does last: its sockets stand from descriptor 3 on, in the process that is
# to have them.
START = """\
import os, sys
given, pid, number, *command = sys.argv[1:]
for target, descriptor in enumerate(map(int, given.split(",")), 3):
    os.dup2(descriptor, target, inheritable=True)
os.environ["LISTEN_PID"] = pid.replace("ours", str(os.getpid()))
os.environ["LISTEN_FDS"] = number
os.execv(command[0], command)
"""
TAKE = """\
import socket
from pt_bridge.net.bind import bind
from pt_bridge.protocol.address import Address
sock = socket.socket(fileno=bind(Address({host!r}, {port}), patience=0))
print(sock.getsockname()[:2], sock.get_inheritable())
"""


def taken(
    bench: Bench, address: tuple[str, int], *, pid: str = "ours", number: str = "3"
) -> str:
    """Return what listens in a process that has a closed one and two sockets."""
    some = [bench.listen(), bench.listen("::1"), bench.listen()]
    given = [sock.fileno() for sock in some]
    host, port = address
    if not port:
        sock = some[["127.0.0.1", "::1"].index(host)]
        port = sock.getsockname()[1]
    # No process of ours may have them before.
    high = [os.dup2(descriptor, 100 + n) for n, descriptor in enumerate(given)]
    code = TAKE.format(host=host, port=port)
    command = [sys.executable, "-c", START, ",".join(map(str, high)), pid, number]
    try:
        program = bench.run(
            [*command, sys.executable, "-c", code], bench.variables, pass_fds=high
        )
    finally:
        for descriptor in high:
            os.close(descriptor)
    program.wait()
    return program.output.decode() or program.text


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_socket_that_systemd_has_is_taken(bench: Bench, host: str) -> None:
    text = taken(bench, (host, 0))
    assert text.startswith(f"('{host}', ")
    assert text.endswith(") False\n"), "a PT would inherit it"


@pytest.mark.parametrize(
    ("pid", "number"),
    [("1", "3"), ("", "3"), ("ours", "x"), ("ours", ""), ("ours", "0")],
)
def test_what_is_meant_for_others_is_left(bench: Bench, pid: str, number: str) -> None:
    text = taken(bench, ("127.0.0.1", 0), pid=pid, number=number)
    assert "address already in use" in text


def test_another_port_is_bound_as_ever(bench: Bench) -> None:
    port = bench.free_port()
    assert str(port) in taken(bench, ("127.0.0.1", port), number="9")


def test_the_port_stays_open_while_pt_bridge_is_started_anew(bench: Bench) -> None:
    bench.pt.play(*CLIENT)
    listener = bench.listen()
    port = listener.getsockname()[1]
    high = os.dup2(listener.fileno(), 100)
    client = [sys.executable, "-m", "pt_bridge", "client", "--remote=127.0.0.1:9"]
    client += [f"--local=127.0.0.1:{port}", f"--plugin-opts={CLIENT_OPTIONS}"]
    command = [sys.executable, "-c", START, "100", "ours", "1", *client]
    try:
        for _ in range(2):
            program = bench.run(command, bench.variables, pass_fds=[high])
            program.said("ready: ")
            bench.stop(program)
            with socket.create_connection(("127.0.0.1", port)):
                pass
    finally:
        os.close(high)
