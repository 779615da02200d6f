"""What goes wrong, with real programs: one plain last line, an exit code, no debris."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from integration.support.endpoints import (
    connect,
    connect_through,
    digest,
    download,
    free_port,
    read_until_reset,
)
from integration.support.machine import NOBODY, await_ss_local, await_ss_server

if TYPE_CHECKING:
    from integration.support.endpoints import Service
    from integration.support.machine import Machine
    from integration.support.programs import Program
    from integration.support.wrong_cert import WrongCert

PT = "obfs4proxy"
SERVER = f"server;transport=obfs4;exec={PT}"
UNPRIVILEGED_PORTS = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
PRIVILEGED_PORT = 443
# 70 characters, as a cert has; no server has this one.
SOME_CERT = "A" * 70


def _fails(machine: Machine, program: Program, *words: str) -> int:
    """Check that a program ends with an error from pt-bridge; return its exit code."""
    code = program.wait()
    assert code != 0, program.text
    line = program.last_of_pt_bridge()
    assert ": error: " in line
    for each in words:
        assert each in line
    machine.nothing_is_left()
    return code


def _fails_everywhere(
    machine: Machine,
    options: str,
    code: int,
    *words: str,
    variables: dict[str, str] | None = None,
) -> None:
    """Check that pt-bridge ends with this code, and that its hosts end too."""
    bridge = machine.plugin(
        options, remote=("127.0.0.1", free_port()), variables=variables
    )
    assert _fails(machine, bridge, *words) == code
    assert bridge.output[-1] == bridge.last_of_pt_bridge()
    assert bridge.stdout == b""
    if options.startswith("server"):
        host = machine.ss_server(free_port(), options, variables=variables)
    else:
        host = machine.ss_local(free_port(), free_port(), options, variables=variables)
    _fails(machine, host, *words)
    assert os.listdir(machine.temporary) == []


@pytest.mark.parametrize(
    "name", ["SS_REMOTE_HOST", "SS_REMOTE_PORT", "SS_LOCAL_HOST", "SS_LOCAL_PORT"]
)
@pytest.mark.parametrize("value", [None, "", "a b"], ids=repr)
def test_a_variable_that_is_missing_or_malformed_is_named(
    machine: Machine, name: str, value: str | None
) -> None:
    """FE-01, FE-02, ER-02."""
    variables = {
        **machine.variables(),
        "SS_REMOTE_HOST": "127.0.0.1",
        "SS_REMOTE_PORT": "1",
        "SS_LOCAL_HOST": "127.0.0.1",
        "SS_LOCAL_PORT": str(free_port()),
        "SS_PLUGIN_OPTIONS": "transport=obfs3",
    }
    del variables[name]
    if value is not None:
        variables[name] = value
    bridge = machine.start("pt-bridge", variables=variables)
    assert _fails(machine, bridge, name) == 64
    assert len(bridge.output) == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("", "plugin_opts"),
        ("transport=obfs4", "needs cert= and iat-mode="),
        ("transport=obfs4;cert=AAAA;iat-mode", "'iat-mode' at column"),
        ("transport=obfs3;a=b\\", "column"),
        ("transport=obfs3;transport=obfs3", "'transport' is given twice"),
        ("transport=obfs3;hold=both", "'hold' is gone: leave it out"),
        ("transport=obfs3;session=sometimes", "auto, 1, 0"),
        ("transport=obfs3;session=only", "session="),
        ("server;transport=obfs4;session=1", "session="),
        ("transport=obfs3;upstream-proxy=socks4://127.0.0.1:1", "socks4a"),
        ("transport=obfs3;exec=/bin/sh", "exec="),
        ("transport=obfs3;loglevel=debug", "loglevel=debug"),
        (f"transport=obfs3;a={'b' * 509}", "510"),
        ("server;transport=obfs4;upstream-proxy=socks5://127.0.0.1:1", "client side"),
        ("server;transport=webtunnel", "needs url="),
        ("server;transport=snowflake", "server for snowflake"),
    ],
)
def test_options_that_are_broken_are_refused(
    machine: Machine, options: str, words: str
) -> None:
    """ER-03, OG-07, OG-09, SK-02, SK-14."""
    _fails_everywhere(machine, options, 65, words)


@pytest.mark.parametrize("role", ["", "server;"], ids=["client", "server"])
def test_an_unknown_transport_is_refused_in_the_pts_own_words(
    machine: Machine, role: str
) -> None:
    """ER-04, PO-07."""
    _fails_everywhere(
        machine,
        f"{role}transport=obfs5;exec={PT}",
        69,
        "obfs4proxy cannot offer obfs5",
        "no such transport",
    )


def test_a_pt_that_is_not_installed_is_looked_for_in_all_the_folders(
    machine: Machine,
) -> None:
    """ER-07: the names and the folders are listed."""
    assert shutil.which("conjure-client") is None
    folder = machine.folder / "bin"
    folder.mkdir()
    variables = machine.variables()
    variables["PATH"] += f":{folder}"
    words = ("conjure-client", str(folder), "/usr/bin", "looked in")
    _fails_everywhere(machine, "transport=conjure", 71, *words, variables=variables)


@pytest.mark.parametrize("content", ["", "not a program"])
def test_a_pt_that_cannot_be_executed_is_named(machine: Machine, content: str) -> None:
    """ER-07: without the right, and where it is no program."""
    folder = machine.folder / "bin"
    folder.mkdir()
    pt = folder / "conjure-client"
    pt.write_text(content)
    words = f"{pt} is not executable by this user"
    if content:
        pt.chmod(0o755)
        words = f"cannot start {pt}: exec format error"
    variables = machine.variables()
    variables["PATH"] += f":{folder}"
    _fails_everywhere(machine, "transport=conjure", 71, words, variables=variables)


@pytest.mark.waits(10)
@pytest.mark.parametrize(
    ("program", "code", "words"),
    [
        ("true", 76, "ended with exit code 0 before it was ready"),
        ("false", 76, "ended with exit code 1 before it was ready"),
        ("cat", 75, "was not ready within 5 seconds"),
        ("yes", 75, "was not ready within 5 seconds; it said: y"),
    ],
)
def test_a_program_that_is_no_pt_is_found_out(
    machine: Machine, program: str, code: int, words: str
) -> None:
    """ER-10, ER-11, PO-08, PO-09: it ends, is silent, or raves."""
    found = shutil.which(program)
    assert found is not None
    folder = machine.folder / "bin"
    folder.mkdir()
    (folder / "conjure-client").symlink_to(found)
    variables = machine.variables()
    variables["PATH"] += f":{folder}"
    options = "transport=conjure"
    if code == 75:
        options += ";start-timeout=5"
    _fails_everywhere(machine, options, code, words, variables=variables)


def test_a_client_whose_port_is_taken_says_by_whom(machine: Machine) -> None:
    """ER-09, FE-07, demands.md 24."""
    with socket.create_server(("127.0.0.1", 0)) as holder:
        local = holder.getsockname()
        bridge = machine.plugin(f"transport=obfs3;exec={PT}", local=local)
        code = _fails(
            machine, bridge, f"port {local[1]}", "in use", f"(pid {os.getpid()})"
        )
    assert code == 74


def test_a_server_whose_port_is_taken_says_by_whom(machine: Machine) -> None:
    """ER-09: the PT finds out, and pt-bridge names the holder."""
    with socket.create_server(("127.0.0.1", 0)) as holder:
        remote = holder.getsockname()
        words = (f"port {remote[1]}", "in use", f"(pid {os.getpid()})")
        bridge = machine.plugin(SERVER, remote=remote)
        assert _fails(machine, bridge, *words) == 74
        _fails(machine, machine.ss_server(remote[1], SERVER), *words)


def test_a_port_below_1024_needs_a_right_that_is_named(machine: Machine) -> None:
    """ER-09, demands.md 15: AmbientCapabilities, never setcap."""
    if int(UNPRIVILEGED_PORTS.read_text()) <= PRIVILEGED_PORT:
        pytest.skip("this system lets everyone listen on port 443")
    _state_for_nobody(machine)
    words = (
        "port 443",
        "permission denied",
        "AmbientCapabilities=CAP_NET_BIND_SERVICE",
        "net.ipv4.ip_unprivileged_port_start=443",
    )
    bridge = machine.plugin(SERVER, remote=("127.0.0.1", 443), nobody=True)
    assert _fails(machine, bridge, *words) == 74
    assert "setcap" not in bridge.text
    _fails(machine, machine.ss_server(443, SERVER, nobody=True), *words)


def test_the_right_that_is_named_helps(machine: Machine, service: Service) -> None:
    """demands.md 15: what AmbientCapabilities= gives the host reaches the PT."""
    if os.geteuid() != 0:
        pytest.skip("only root can give rights away")
    _state_for_nobody(machine)
    port = _free_privileged_port()
    server = machine.ss_server(port, SERVER, nobody=True, rights=["net_bind_service"])
    options = machine.client_options(server)
    await_ss_server(server)
    client = machine.ss_local(port, socks_port := free_port(), options)
    await_ss_local(client)
    with connect_through(socks_port, service.address) as sock:
        assert download(sock, 1000) == digest(1000)


def _state_for_nobody(machine: Machine) -> None:
    state = machine.folder / "state"
    state.mkdir()
    if os.geteuid() == 0:
        os.chown(state, NOBODY, NOBODY)


def _free_privileged_port() -> int:
    for port in range(1023, 600, -1):
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port below 1024 is free")


@pytest.mark.parametrize("home", ["/", None], ids=["HOME is /", "no HOME"])
def test_a_server_with_nowhere_to_write_says_what_helps(
    machine: Machine, home: str | None
) -> None:
    """ER-08, PE-04: as Debian's own unit has it (DynamicUser)."""
    variables = machine.variables()
    del variables["XDG_STATE_HOME"], variables["HOME"]
    if home is not None:
        variables["HOME"] = home
    words = ("StateDirectory=pt-bridge", "systemctl edit")
    bridge = machine.plugin(
        SERVER, remote=("127.0.0.1", free_port()), variables=variables, nobody=True
    )
    assert _fails(machine, bridge, *words) == 73
    host = machine.ss_server(free_port(), SERVER, variables=variables, nobody=True)
    _fails(machine, host, *words)


def test_the_state_directory_of_systemd_is_what_helps(
    machine: Machine, service: Service
) -> None:
    """ER-08: the same with STATE_DIRECTORY, as StateDirectory= sets it."""
    folder = machine.folder / "lib"
    folder.mkdir(0o755)
    if os.geteuid() == 0:
        os.chown(folder, NOBODY, NOBODY)
    variables = machine.variables()
    del variables["XDG_STATE_HOME"]
    variables |= {"HOME": "/", "STATE_DIRECTORY": str(folder)}
    port = free_port()
    server = machine.ss_server(port, SERVER, variables=variables, nobody=True)
    assert machine.client_options(server).startswith("transport=obfs4;session=1;cert=")
    assert (folder / f"pt-bridge/obfs4-{port}/client-options.txt").exists()
    assert folder.stat().st_mode & 0o777 == 0o755


def test_a_state_that_the_pt_cannot_read_is_told_in_its_own_words(
    machine: Machine,
) -> None:
    """ER-04, PE-04: SMETHOD-ERROR."""
    state = machine.folder / "state/pt-bridge/broken"
    options = f"{SERVER};state=broken"
    server = machine.ss_server(free_port(), options)
    machine.client_options(server)
    assert server.stop() == 0
    file = state / "obfs4_state.json"
    os.truncate(file, file.stat().st_size // 2)
    words = ("cannot offer obfs4", "failed to load statefile", "unexpected end of JSON")
    _fails_everywhere(machine, options, 69, *words)


def test_arguments_that_the_pt_refuses_reset_the_connection_at_once(
    machine: Machine, service: Service
) -> None:
    """ER-13, SK-13: and the program goes on."""
    local, socks_port = ("127.0.0.1", free_port()), free_port()
    options = f"transport=obfs4;cert={SOME_CERT};iat-mode=7;exec={PT}"
    client = machine.pt_bridge("client", options, local=local, remote=service.address)
    for _ in range(2):
        with connect(local) as sock:
            sock.sendall(b"GIVE 1\n")
            assert read_until_reset(sock)
    line = client.wait_for("warning: a connection failed")
    assert "cert and the like" in line
    host = machine.ss_local(service.address[1], socks_port, options)
    await_ss_local(host)
    with connect_through(socks_port, service.address) as sock:
        sock.sendall(b"GIVE 1\n")
        read_until_reset(sock)  # however ss-local passes it on
    host.wait_for("warning: a connection failed")
    for program in (client, host):
        assert program.runs
        assert program.stop() == 0


def test_the_cert_of_another_server_is_told_of_and_survived(
    wrong_cert: WrongCert,
) -> None:
    """ER-13, SK-11, SK-13, RL-10: all this takes the PT a minute.

    Once the server that the cert belongs to is in its place, the next connection works.
    """
    for attempt in (wrong_cert.through_client, wrong_cert.through_host):
        attempt.wait()
        assert attempt.data == b""
        assert attempt.seconds is not None
    assert wrong_cert.through_client.reset
    for program in (wrong_cert.client, wrong_cert.host):
        line = program.wait_for("warning: a connection failed")
        for words in ("may be down or blocked", "cert and the like", "clock"):
            assert words in line
        assert program.runs
    wrong_cert.bring_the_right_server()
    with wrong_cert.connect() as sock:
        assert download(sock, 100_000) == digest(100_000)
    assert wrong_cert.host.stop() == 0
    wrong_cert.client.signal(signal.SIGTERM)
    assert wrong_cert.client.wait() == 0
