"""Bridge lines, links and config.json: what convert writes, real hosts understand."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from integration.support.endpoints import connect_through, digest, free_port, upload
from integration.support.machine import (
    METHOD,
    PASSWORD,
    await_ss_local,
    await_ss_server,
)
from integration.support.programs import DEADLINE, find

if TYPE_CHECKING:
    from integration.support.endpoints import Service
    from integration.support.machine import Machine
    from integration.support.programs import Program

SIZE = 100_000
# Nobody knows it; SIP003, JSON and links each escape it in their own way.
AWKWARD = r";arg-awkward=a\;b\\c\=d+e"


def convert(machine: Machine, text: str, form: str, *flags: str) -> str:
    """Run ``pt-bridge convert``; return what it prints."""
    command = [find("pt-bridge"), "convert", text, f"--to={form}", *flags]
    done = subprocess.run(
        command,
        env=machine.variables(),
        capture_output=True,
        text=True,
        check=True,
        timeout=DEADLINE,
    )
    assert done.stdout.endswith("\n")
    return done.stdout[:-1]


def server_and_options(machine: Machine, port: int) -> tuple[Program, str]:
    """Start ss-server; return what it says that its clients must use."""
    server = machine.ss_server(port, "server;transport=obfs4")
    options = machine.client_options(server)
    await_ss_server(server)
    return server, options


def carries(socks_port: int, service: Service) -> None:
    with connect_through(socks_port, service.address) as sock:
        assert upload(sock, SIZE) == digest(SIZE)


def test_a_bridge_line_leads_through_the_whole_chain(
    machine: Machine, service: Service
) -> None:
    """Bridge=, as people paste it."""
    port, socks_port = free_port(), free_port()
    _, options = server_and_options(machine, port)
    line = convert(machine, options, "bridge", f"--remote=127.0.0.1:{port}")
    pasted = "bridge=\u201cBridge  " + line.replace(" cert", "\u00a0cert") + "\u201d"
    client = machine.ss_local(port, socks_port, pasted)
    await_ss_local(client)
    carries(socks_port, service)


def test_a_bridge_line_for_another_server_ends_the_client(machine: Machine) -> None:
    """Nobody connects to a server that is not the one in the line."""
    line = f"obfs4 127.0.0.2:443 cert={'A' * 70} iat-mode=0"
    client = machine.ss_local(free_port(), free_port(), f"bridge={line}")
    assert client.wait() != 0
    assert re.search(
        r"^pt-bridge: error: bridge= names another server than shadowsocks's server",
        client.text,
        re.MULTILINE,
    )


@pytest.mark.parametrize("by_way_of", ["options", "link", "json"])
def test_ss_local_starts_with_the_configuration_that_convert_writes(
    machine: Machine, service: Service, by_way_of: str
) -> None:
    """Demands 7 and 8, HQ-10: escaped so that the PT gets what the server said."""
    port, socks_port = free_port(), free_port()
    _, options = server_and_options(machine, port)
    flags = (
        f"--remote=127.0.0.1:{port}",
        f"--local=127.0.0.1:{socks_port}",
        f"--method={METHOD}",
        f"--password={PASSWORD}",
    )
    text = convert(machine, f"{options}{AWKWARD}", by_way_of, *flags)
    path = machine.folder / "config.json"
    path.write_text(convert(machine, text, "json", *flags))
    client = machine.start("ss-local", "-c", str(path))
    await_ss_local(client)
    assert "obfs4 takes no 'awkward'" in client.text
    carries(socks_port, service)
    assert convert(machine, str(path), "options") == f"{options}{AWKWARD}"
