"""``pt-bridge doctor`` of root's, asked of services under a real systemd.

Their users are of systemd's making (DynamicUser=), and their folders behind a link.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from integration.support.endpoints import Service
from integration.support.machine import shadowsocks_json
from integration.support.systemd_machine import SystemdMachine, installed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PORT, LOCAL_PORT = 8388, 1080
DEBIANS = "shadowsocks-libev.service"
SERVER = "server;transport=obfs4"

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root can boot a machine"
)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[SystemdMachine]:
    """Boot a machine, and install pt-bridge there."""
    with installed(tmp_path) as machine:
        yield machine


def doctor(machine: SystemdMachine, *arguments: str) -> dict[str, dict[str, Any]]:
    """Ask there as root; see that nothing is broken; return a step for each link."""
    said = machine.run("pt-bridge", "doctor", "--json", *arguments)
    steps = [json.loads(line) for line in said.splitlines()]
    return {step["link"]: step for step in steps}


def verdicts(steps: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {link: step["verdict"] for link, step in steps.items()}


@pytest.fixture
def debians(machine: SystemdMachine) -> SystemdMachine:
    """Start Debian's server."""
    path = "/etc/shadowsocks-libev/config.json"
    machine.write(path, shadowsocks_json(PORT, SERVER))
    machine.run("systemctl", "start", DEBIANS)
    machine.wait_for(DEBIANS, "ready: ")
    return machine


WAYS = [(DEBIANS,), (SERVER, f"--remote=127.0.0.1:{PORT}")]


@pytest.mark.parametrize("arguments", WAYS, ids=["unit", "options"])
def test_debians_server_is_known_running_and_stopped(
    debians: SystemdMachine, arguments: tuple[str, ...]
) -> None:
    """By its unit's name, and by what root would write of it."""
    folder = f"/var/lib/private/pt-bridge/obfs4-{PORT}"
    keys = debians.run("sha256sum", f"{folder}/obfs4_state.json")
    steps = doctor(debians, *arguments)
    assert steps["port"]["text"].startswith("a pt-bridge of another user (")
    assert folder in steps["state"]["text"]
    assert "keys are there" in steps["state"]["text"]
    assert steps["shadowsocks"]["verdict"] == "ok"  # it says where, too
    assert set(verdicts(steps).values()) == {"ok", "warning"}
    debians.run("systemctl", "stop", DEBIANS)
    steps = doctor(debians, *arguments)
    assert steps["port"]["text"] == f"127.0.0.1:{PORT} is free"
    assert folder in steps["state"]["text"]
    assert verdicts(steps)["start"] == "ok"
    assert debians.run("sha256sum", f"{folder}/obfs4_state.json") == keys


def test_our_own_units_are_known_by_name_and_by_file(machine: SystemdMachine) -> None:
    """What they are started with stands in their files alone."""
    with machine.inside():
        service = Service()
    host, port = service.address
    text = f"LOCAL={host}:{port}\nREMOTE=0.0.0.0:{PORT}\nOPTIONS='transport=obfs4'\n"
    machine.write("/etc/pt-bridge/name.conf", text, 0o600)
    names = ["pt-bridge-server@name", "/etc/pt-bridge/name.conf"]
    machine.run("systemctl", "start", names[0])
    folder = "/var/lib/private/pt-bridge-server/name/pt-bridge"
    for name in names:
        steps = doctor(machine, name)
        assert "of another user" in steps["port"]["text"]
        assert folder in steps["state"]["text"]
        assert steps["shadowsocks"]["text"] == f"{host}:{port} takes connections"
    path = f"{folder}/obfs4-{PORT}/client-options.txt"
    options = machine.run("cat", path).strip()
    client = (
        f"LOCAL=127.0.0.1:{LOCAL_PORT}\nREMOTE=127.0.0.1:{PORT}\n"
        f"OPTIONS='{options}'\nFLAGS=--state keys\n"
    )
    machine.write("/etc/pt-bridge/way.conf", client, 0o600)
    machine.run("systemctl", "start", "pt-bridge-client@way")
    for name in ("pt-bridge-client@way.service", "/etc/pt-bridge/way.conf"):
        steps = doctor(machine, name)
        assert steps["options"]["text"] == "client, transport=obfs4, session=1"
        assert steps["session"]["verdict"] == "ok"
    machine.run("systemctl", "stop", *names[:1], "pt-bridge-client@way")
    for name in names:
        steps = doctor(machine, name)
        assert steps["port"]["text"] == f"0.0.0.0:{PORT} is free"
        assert folder in steps["state"]["text"]
    service.close()


def test_a_unit_that_is_none_is_told_of(machine: SystemdMachine) -> None:
    machine.fails("pt-bridge", "doctor", "no-such.service")
    machine.fails("pt-bridge", "doctor", "systemd-journald.service")


def test_what_a_services_clients_need_is_shown(debians: SystemdMachine) -> None:
    """Running and stopped, by the unit's name; and out of its configuration."""
    remote = ("--remote", f"192.0.2.1:{PORT}")
    folder = f"/var/lib/private/pt-bridge/obfs4-{PORT}"
    line = debians.run("cat", f"{folder}/client-options.txt").strip()
    for command in ("start", "stop"):
        debians.run("systemctl", command, DEBIANS)
        said = debians.run("pt-bridge", "show", "shadowsocks-libev", *remote)
        assert said.startswith(f"Plugin options:\n{line}\n\nBridge line:\nobfs4 192.0.")
    (link,) = (text for text in said.splitlines() if text.startswith("ss://"))
    made = debians.run(
        *("pt-bridge", "convert", "/etc/shadowsocks-libev/config.json"),
        *("--to", "json", *remote),
    )
    assert json.loads(made)["plugin_opts"] == line
    assert debians.run("pt-bridge", "convert", made, "--to", "link").strip() == link
