"""A real tor before pt-bridge and behind it, in a network of its own.

The network is up in half a minute, which passes beside the other tests; so these are
tests of the suite like any others, and no script of their own.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import stem.control

from integration.support.tor_network import AMERICAN, EXT_OR_PORT, LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.support.programs import Program
    from integration.support.tor_network import TorNetwork

SOCKS_PORT = 1984
OPTIONS = "transport=obfs4;exec=obfs4proxy"
PLUGIN = f"obfs4 socks5 {LOOPBACK}:{SOCKS_PORT}"
OTHER_FINGERPRINT = "0123456789ABCDEF0123456789ABCDEF01234567"


@pytest.fixture(scope="module")
def network(tor_network: TorNetwork) -> TorNetwork:
    return tor_network.ready()


@pytest.fixture(scope="module")
def socks(network: TorNetwork) -> Iterator[Program]:
    """Return a PT for tor, which all of these tests share."""
    program = network.machine.start(
        "pt-bridge",
        "client",
        f"--socks={LOOPBACK}:{SOCKS_PORT}",
        f"--plugin-opts={OPTIONS}",
    )
    program.wait_for("ready: ")
    yield program
    assert program.stop() == 0


@contextlib.contextmanager
def server(
    network: TorNetwork, port: int, more: str = "", *, options: str = OPTIONS
) -> Iterator[str]:
    """Run a server before the bridge; return its bridge line."""
    flags = [f"--tor-control={network.control}"]
    if not more:
        flags = [
            f"--ext-orport={LOOPBACK}:{EXT_OR_PORT}",
            f"--ext-orport-cookie={network.cookie}",
        ]
    program = network.machine.start(
        "pt-bridge",
        "server",
        f"--remote={AMERICAN}:{port}",
        f"--plugin-opts={options}{more}",
        *flags,
        variables=network.machine.with_lyrebird(),
    )
    program.wait_for("ready: ")
    transport = options.partition(";")[0].removeprefix("transport=")
    folder = network.machine.folder / f"state/pt-bridge/{transport}-{port}"
    yield (folder / "bridge-line.txt").read_text().strip()
    assert program.stop() == 0


def test_a_tor_is_at_100_percent_and_its_country_is_counted(
    network: TorNetwork, socks: Program
) -> None:
    """With pt-bridge on both sides, and connections that it announces itself."""
    with server(network, 7301, ";front=yes") as line:
        assert line.startswith(f"Bridge obfs4 {AMERICAN}:7301 {network.fingerprint} ")
        network.client("c1", line, PLUGIN)
    with stem.control.Controller.from_socket_file(network.control) as tor:
        tor.authenticate()
        seen = tor.get_info("status/clients-seen")
    assert "us=8" in seen


@pytest.mark.parametrize(
    ("name", "options", "more"),
    [
        ("lyrebird", "transport=obfs4;exec=lyrebird", ""),
        ("lyrebirdFront", "transport=obfs4;exec=lyrebird", ";front=yes"),
        ("webtunnel", f"transport=webtunnel;url=http://{AMERICAN}:7307/a-path", ""),
    ],
)
def test_the_other_pts_carry_a_tor(
    network: TorNetwork, name: str, options: str, more: str
) -> None:
    """Lyrebird on both sides, and webtunnel's server with lyrebird for its client."""
    transport = options.partition(";")[0].removeprefix("transport=")
    place = f"{LOOPBACK}:{SOCKS_PORT + 1}"
    client = network.machine.start(
        "pt-bridge",
        "client",
        f"--socks={place}",
        f"--plugin-opts=transport={transport};exec=lyrebird",
        variables=network.machine.with_lyrebird(),
    )
    client.wait_for("ready: lyrebird")
    plugin = (
        f"{transport.removeprefix('transport=')} socks5 {LOOPBACK}:{SOCKS_PORT + 1}"
    )
    with server(network, 7307, more, options=options) as line:
        network.client(name, line, plugin)
    assert client.stop() == 0


def test_a_tor_behind_may_be_started_again(network: TorNetwork, socks: Program) -> None:
    """It has a new cookie then; the PT reads it itself, and so do we."""
    with (
        server(network, 7302) as handed_on,
        server(network, 7303, ";front=yes") as ours,
    ):
        network.client("c2", ours, PLUGIN)
        network.restart_bridge()
        network.client("c3", handed_on, PLUGIN)
        network.client("c4", ours, PLUGIN)


def doctor(network: TorNetwork, line: str, **variables: str) -> list[dict[str, Any]]:
    """Ask doctor of a bridge."""
    program = network.machine.start(
        "pt-bridge",
        "doctor",
        line,
        "--with-tor",
        f"--tor-defaults={network.defaults}",
        "--exec=obfs4proxy",
        "--json",
        variables={**network.machine.variables(), **variables},
    )
    program.wait()
    steps: list[dict[str, Any]] = [
        json.loads(each) for each in program.stdout.decode().splitlines()
    ]
    return [each for each in steps if each["verdict"] != "waiting"]


def test_doctor_names_what_is_broken(network: TorNetwork) -> None:
    """The server, the handshake's PT, the relay's identity, and nothing at all."""
    with server(network, 7304) as line:
        steps = doctor(network, line)
        assert {each["verdict"] for each in steps} == {"ok"}, steps
        assert steps[-1]["link"] == "network"
        wrong = line.replace(network.fingerprint, OTHER_FINGERPRINT)
        assert _broken(doctor(network, wrong)) == "identity"
    assert _broken(doctor(network, line)) == "server"


def test_doctor_names_a_relay_that_is_not_there(network: TorNetwork) -> None:
    """The PT is there, and what it was told of does not answer."""
    cookie = Path(network.machine.folder / "another-cookie")
    cookie.write_bytes(network.cookie.read_bytes()[:32] + bytes(32))
    program = network.machine.start(
        "pt-bridge",
        "server",
        f"--remote={AMERICAN}:7305",
        f"--plugin-opts={OPTIONS}",
        f"--ext-orport={LOOPBACK}:{EXT_OR_PORT}",
        f"--ext-orport-cookie={cookie}",
    )
    program.wait_for("ready: ")
    folder = network.machine.folder / "state/pt-bridge/obfs4-7305"
    line = (folder / "bridge-line.txt").read_text().strip()
    assert _broken(doctor(network, line)) == "orport"
    assert program.stop() == 0


def test_doctor_names_a_wrong_clock(network: TorNetwork, tmp_path: Path) -> None:
    """That of the tor which it starts is two days behind."""
    wrong = tmp_path / "tor"
    wrong.write_text('#!/bin/sh\nexec faketime -f -2d /usr/sbin/tor "$@"\n')
    wrong.chmod(0o755)
    path = f"{tmp_path}:{network.machine.variables()['PATH']}"
    with server(network, 7306) as line:
        assert _broken(doctor(network, line, PATH=path)) == "clock"


def _broken(steps: list[dict[str, Any]]) -> str:
    """Return the link that is broken, which is the last one."""
    assert steps[-1]["verdict"] == "failed", steps
    link: str = steps[-1]["link"]
    return link
