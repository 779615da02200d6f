"""What a pt-bridge is told that takes over from another, and what it tells."""

from __future__ import annotations

import os
import socket
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.processes import Bench

PROGRAM = """\
import os, socket
from pt_bridge.net import inherited, takeover
takeover.begin()
print(takeover.is_going_on(), flush=True)
found = inherited.take(socket.AF_INET, ("127.0.0.1", {port}))
udp = inherited.take(socket.AF_INET, ("127.0.0.1", {port}), kind=socket.SOCK_DGRAM)
print(found is not None, udp is not None, flush=True)
takeover.afterwards(lambda: print("told", flush=True))
takeover.tell_ready()
assert takeover.TAKES_OVER not in os.environb
print(takeover.is_going_on(), takeover.sockets(), flush=True)
"""


def test_it_has_the_sockets_until_it_is_ready(bench: Bench) -> None:
    """And goes on in a child, so that its parent is not who goes away."""
    listening = bench.listen()
    port = listening.getsockname()[1]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", port))
        read, write = os.pipe()
        passed = (write, listening.fileno(), udp.fileno())
        variables = {
            **bench.variables,
            "PT_BRIDGE_TAKES_OVER": ",".join(map(str, passed)),
        }
        command = [sys.executable, "-c", PROGRAM.format(port=port)]
        program = bench.run(command, variables, pass_fds=passed)
        os.close(write)
        assert program.wait() == 0, program.text
    assert program.output == b"True\nTrue True\ntold\nFalse ()\n"
    with open(read, "rb") as pipe:
        pid, ready = pipe.read().split()
    assert int(pid) != program.process.pid
    assert ready == b"ready"


def test_what_is_no_list_of_descriptors_is_nothing(bench: Bench) -> None:
    variables = {**bench.variables, "PT_BRIDGE_TAKES_OVER": "hello"}
    command = [sys.executable, "-c", PROGRAM.format(port=1)]
    program = bench.run(command, variables)
    assert program.wait() == 0, program.text
    assert program.output.startswith(b"False\nFalse False\n")
