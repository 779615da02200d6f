"""What plugin options may start, with shadowsocks-libev and the real PTs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from integration.support.endpoints import (
    MIB,
    assert_carries,
    connect_through,
    digest,
    free_port,
    upload,
)
from integration.support.machine import NOBODY, await_ss_local, await_ss_server
from integration.support.programs import LYREBIRD_FOLDER, find

if TYPE_CHECKING:
    from integration.support.endpoints import Service
    from integration.support.machine import Machine

TOR_BROWSER = "tor-browser/Browser/TorBrowser"


def _own_file(machine: Machine, *lines: str) -> dict[str, str]:
    """Write an ordinary user's own file; return his environment."""
    for name in ("state", "tmp", "config"):
        folder = machine.folder / name
        folder.mkdir(mode=0o700, exist_ok=True)
        if os.geteuid() == 0:
            os.chown(folder, NOBODY, NOBODY)
    path = machine.folder / "config/pt-bridge.conf"
    path.write_text("\n".join(lines), encoding="utf-8")
    path.chmod(0o644)
    return {**machine.variables(), "XDG_CONFIG_HOME": str(path.parent)}


def _carries(
    machine: Machine, service: Service, variables: dict[str, str], path: str
) -> None:
    """Check that both ends run that program, and carry bytes."""
    port, socks_port = free_port(), free_port()
    server = machine.ss_server(
        port, "server;transport=obfs4", variables=variables, nobody=True
    )
    options = machine.client_options(server)
    await_ss_server(server)
    client = machine.ss_local(
        port, socks_port, options, variables=variables, nobody=True
    )
    await_ss_local(client)
    for program in (server, client):
        program.wait_for(f"starting {path} (")
    assert_carries(lambda: connect_through(socks_port, service.address))


@pytest.mark.parametrize("name", ["obfs4proxy", "lyrebird"])
def test_a_pt_gets_the_arguments_that_its_owner_gives_it(
    machine: Machine, service: Service, name: str
) -> None:
    """As torrc has them; the PT's own log file tells."""
    folders = LYREBIRD_FOLDER if name == "lyrebird" else None
    path = find(name, path=folders)
    variables = _own_file(
        machine,
        f"ClientTransportPlugin obfs3,obfs4 exec {path} -enableLogging \\",
        "  -logLevel INFO",
        f"ServerTransportPlugin obfs4 exec {path} -enableLogging -logLevel INFO",
    )
    _carries(machine, service, variables, path)
    (log,) = machine.folder.glob(f"state/pt-bridge/obfs4-*/{name}.log")
    assert "obfs4" in log.read_text()


def test_tor_browsers_own_file_serves(machine: Machine, service: Service) -> None:
    """Its torrc-defaults, and lyrebird where it has it."""
    folder = machine.folder / TOR_BROWSER
    for name in ("Data/Tor", "Tor/PluggableTransports"):
        (folder / name).mkdir(parents=True)
    place = folder / "Tor/PluggableTransports/lyrebird"
    os.link(find("lyrebird", path=LYREBIRD_FOLDER), place)
    (folder / "Data/Tor/torrc-defaults").write_text(
        "AvoidDiskWrites 1\n"
        "ClientTransportPlugin meek_lite,obfs2,obfs3,obfs4,scramblesuit,webtunnel exec "
        "./TorBrowser/Tor/PluggableTransports/lyrebird\n"
    )
    variables = _own_file(
        machine,
        f"%include {folder}/Data/Tor/torrc-defaults",
        f"ServerTransportPlugin obfs4 exec {place}",
    )
    _carries(machine, service, variables, str(place))


def test_what_lies_where_shadowsocks_was_started_is_not_run(
    machine: Machine, service: Service
) -> None:
    """SE-03: shadowsocks-libev puts its working directory in front of PATH."""
    trap = machine.folder / "obfs4proxy"
    trap.write_text(f"#!/bin/sh\necho run >>{machine.folder}/trapped\n")
    trap.chmod(0o755)
    chain = machine.chain(
        server_options="server;transport=obfs4;exec=obfs4proxy",
        client_options=";exec=obfs4proxy",
    )
    with chain.connect(service.address) as sock:
        assert upload(sock, MIB) == digest(MIB)
    assert not (machine.folder / "trapped").exists()
