"""The units in ``systemd/``, and Debian's with our drop-ins, under a real systemd."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from integration.support.documents import README, blocks, commands, replace
from integration.support.endpoints import (
    MIB,
    Service,
    assert_carries,
    connect,
    connect_through,
    digest,
    download,
    upload,
)
from integration.support.machine import PASSWORD, shadowsocks_json
from integration.support.programs import DEADLINE
from integration.support.systemd_machine import SystemdMachine, installed
from pt_bridge.errors import OptionsError

if TYPE_CHECKING:
    from collections.abc import Iterator

# Each machine has ports of its own.
PORT, SOCKS_PORT = 8388, 1080
CLIENT_ADDRESS = ("127.0.0.1", SOCKS_PORT)
KEYS = f"obfs4-{PORT}"

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root can boot a machine"
)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[SystemdMachine]:
    """Boot a machine, and install pt-bridge there."""
    with installed(tmp_path) as machine:
        yield machine


@pytest.fixture
def service(machine: SystemdMachine) -> Iterator[Service]:
    """Start a service on that machine."""
    with machine.inside():
        service = Service()
    yield service
    service.close()


class Debians(NamedTuple):
    """One of Debian's units for a server, with our drop-in.

    Attributes:
        unit: its name.
        configuration: the file that it reads.
        link: where systemd makes a link to its state directory, below /var/lib.
        state: our folder, below /var/lib.
    """

    unit: str
    configuration: str
    link: str
    state: str


WHOLE = Debians("shadowsocks-libev.service", "config.json", "pt-bridge", "pt-bridge")
INSTANCE = Debians(
    "shadowsocks-libev-server@name.service",
    "name.json",
    "shadowsocks-libev-server/name",
    "shadowsocks-libev-server/name/pt-bridge",
)
LOCAL = "shadowsocks-libev-local@name.service"
OURS = "pt-bridge-server/server/pt-bridge"
TUNNELS = "pt-bridge.service"


def configure(machine: SystemdMachine, name: str, options: str, **more: object) -> None:
    """Write a configuration of shadowsocks's, in the folder where Debian has it."""
    text = shadowsocks_json(PORT, options, **more)
    machine.write(f"/etc/shadowsocks-libev/{name}", text)


def assert_ready(machine: SystemdMachine, unit: str, *, times: int = 1) -> None:
    """Wait until a unit has said so many times that it is ready; check that it runs."""
    machine.wait_for(unit, "ready: ", times=times)
    assert_runs(machine, unit)


def clients_options(machine: SystemdMachine, folder: str) -> str:
    """Return what a server has written for its clients.

    Args:
        machine: where it runs.
        folder: its state directory, below /var/lib.
    """
    path = f"/var/lib/{folder}/{KEYS}/client-options.txt"
    options = machine.run("cat", path).strip()
    assert "cert=" in options
    return options


def assert_runs(machine: SystemdMachine, unit: str) -> None:
    """Check that a unit runs, and has done so since it was started."""
    is_so = machine.show(unit, "ActiveState", "SubState", "NRestarts")
    assert is_so == ["active", "running", "0"], machine.journal(unit)


def stop_cleanly(machine: SystemdMachine, unit: str) -> None:
    """Stop a unit; check that it ends well and leaves nothing but its state."""
    machine.run("systemctl", "stop", unit)
    is_so = machine.show(unit, "ActiveState", "Result", "ExecMainStatus")
    assert is_so == ["inactive", "success", "0"], machine.journal(unit)
    assert "Killing" not in machine.journal(unit)
    # Its own /tmp among it.
    assert machine.run("find", "/tmp", "/var/tmp", "/run", "-name", f"*{unit}*") == ""


def assert_nothing_runs(machine: SystemdMachine) -> None:
    """Check that systemd is alone, with its journal."""
    assert set(machine.processes()) <= {"systemd", "systemd-journal"}


def assert_open(machine: SystemdMachine, port: int) -> None:
    """Check that a port takes connections now."""
    with machine.inside():
        socket.create_connection(("127.0.0.1", port), DEADLINE).close()


def assert_uploads(machine: SystemdMachine) -> None:
    """Check that the client's port leads to the service, for more than a packet."""
    with machine.inside(), connect(CLIENT_ADDRESS) as sock:
        assert upload(sock, MIB) == digest(MIB)


def assert_no_secret(machine: SystemdMachine, options: str) -> None:
    """Check that the journal has neither the cert nor what a crash writes (SE-05)."""
    said = machine.journal()
    assert PASSWORD not in said
    assert options.split("cert=")[1].split(";", maxsplit=1)[0] not in said
    assert "Traceback" not in said


# Debian's units


@pytest.mark.parametrize("debians", [WHOLE, INSTANCE], ids=lambda each: each.unit)
def test_debians_server_keeps_its_keys(
    machine: SystemdMachine, debians: Debians
) -> None:
    """PE-04: its user is one of systemd's making, and its folder behind a link."""
    configure(machine, debians.configuration, "server;transport=obfs4")
    machine.run("systemctl", "start", debians.unit)
    assert_ready(machine, debians.unit)
    assert set(machine.processes()) >= {"ss-server", "pt-bridge", "obfs4proxy"}
    options = clients_options(machine, debians.state)
    assert (machine.root / "var/lib" / debians.link).is_symlink()
    folder = machine.root / "var/lib/private" / debians.state / KEYS
    assert folder.stat().st_uid != 0
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    machine.run("systemctl", "restart", debians.unit)
    assert_ready(machine, debians.unit, times=2)
    assert clients_options(machine, debians.state) == options
    assert machine.journal(debians.unit).count("a new server") == 1
    stop_cleanly(machine, debians.unit)
    assert_nothing_runs(machine)
    assert clients_options(machine, debians.state) == options


def test_without_our_drop_in_the_journal_says_what_to_add(
    machine: SystemdMachine,
) -> None:
    """ER-08: two lines from `systemctl edit`, which are the README's, are enough."""
    drop_in = f"/etc/systemd/system/{WHOLE.unit}.d"
    machine.run("rm", "-r", drop_in)
    machine.run("systemctl", "daemon-reload")
    configure(machine, WHOLE.configuration, "server;transport=obfs4")
    machine.run("systemctl", "start", WHOLE.unit)
    machine.wait_for(
        WHOLE.unit,
        "run 'systemctl edit UNIT' and add '[Service]' and 'StateDirectory=pt-bridge'",
    )
    machine.wait_for(WHOLE.unit, "Failed with result")
    machine.write(f"{drop_in}/override.conf", "[Service]\nStateDirectory=pt-bridge\n")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "restart", WHOLE.unit)
    assert_ready(machine, WHOLE.unit)
    clients_options(machine, WHOLE.state)


def test_debians_units_carry_traffic(machine: SystemdMachine, service: Service) -> None:
    """ss-local and ss-server, with their plugin on both sides."""
    server, _, _, state = INSTANCE
    configure(machine, "name.json", "server;transport=obfs4")
    machine.run("systemctl", "enable", "--now", server)
    machine.wait_for(server, "ready: ")
    options = clients_options(machine, state)
    configure(machine, "name.json", options, local_port=SOCKS_PORT)
    machine.run("systemctl", "enable", "--now", LOCAL)
    machine.wait_for(LOCAL, "ready: ")
    machine.wait_for(LOCAL, "listening at ")
    with machine.inside():
        connect(CLIENT_ADDRESS).close()
        assert_carries(lambda: connect_through(SOCKS_PORT, service.address))
    for unit in (LOCAL, server):
        assert_runs(machine, unit)
        stop_cleanly(machine, unit)
    assert_nothing_runs(machine)
    assert_no_secret(machine, options)


def test_a_plugin_of_debians_unit_says_how_it_is(machine: SystemdMachine) -> None:
    """The README's recipe: SIGUSR1 for pt-bridge alone, since it ends ss-server."""
    configure(machine, WHOLE.configuration, "server;transport=obfs4")
    machine.run("systemctl", "start", WHOLE.unit)
    machine.wait_for(WHOLE.unit, "ready: ")
    machine.run("pkill", "-USR1", "-x", "pt-bridge")
    machine.wait_for(WHOLE.unit, "status: up ")
    machine.wait_for(WHOLE.unit, "status: obfs4proxy")
    assert_runs(machine, WHOLE.unit)
    assert set(machine.processes()) >= {"ss-server", "pt-bridge", "obfs4proxy"}


# Ours


def settings(machine: SystemdMachine, role: str, text: str) -> str:
    """Write what a unit of ours shall do; return the unit's name.

    Client and server cannot have one file here, so the role is their instance's name.
    """
    machine.write(f"/etc/pt-bridge/{role}.conf", text, 0o600)
    return f"pt-bridge-{role}@{role}.service"


def test_our_units_carry_traffic_and_say_how_they_are(
    machine: SystemdMachine, service: Service
) -> None:
    """Readiness, the settings of the README, hardening and all, and the stop."""
    server = settings(
        machine,
        "server",
        f"LOCAL=127.0.0.1:{service.address[1]}\n"
        f"REMOTE=0.0.0.0:{PORT}\n"
        "OPTIONS='transport=obfs4'\n",
    )
    machine.run("systemctl", "enable", "--now", server)
    assert_open(machine, PORT)
    options = clients_options(machine, OURS)
    client = settings(
        machine,
        "client",
        f"LOCAL=127.0.0.1:{SOCKS_PORT}\n"
        f"REMOTE=127.0.0.1:{PORT}\n"
        f"OPTIONS='{options}'\n"
        "FLAGS=--loglevel debug --idle 600\n",
    )
    machine.run("systemctl", "enable", "--now", client)
    assert_open(machine, SOCKS_PORT)
    machine.wait_for(client, "debug: ")
    assert_uploads(machine)
    with machine.inside(), connect(CLIENT_ADDRESS) as sock:
        assert download(sock, MIB) == digest(MIB)
    for unit in (client, server):
        machine.run("systemctl", "kill", "-s", "USR1", "--kill-whom=main", unit)
        machine.wait_for(unit, "status: up ")
        assert_runs(machine, unit)
    # Hardening is in force: systemd leaves out what it cannot do.
    for process in machine.processes()["pt-bridge"]:
        status = (process / "status").read_text()
        assert "NoNewPrivs:\t1\n" in status
        assert "Seccomp:\t2\n" in status
    assert machine.run("ls", "-A", "/run/pt-bridge-client/client")
    machine.run("systemctl", "restart", server)
    assert clients_options(machine, OURS) == options
    for unit in (client, server):
        assert_runs(machine, unit)
        stop_cleanly(machine, unit)
    assert_nothing_runs(machine)
    assert machine.run("ls", "-A", "/run/pt-bridge-client") == ""
    assert_no_secret(machine, options)


def tunnels(machine: SystemdMachine, *tables: str) -> None:
    """Write what pt-bridge.service shall do, for its owner alone."""
    machine.write("/etc/pt-bridge/tunnels.toml", "\n".join(tables), 0o600)


def server_table(service_port: int, *, front: str = "true") -> str:
    """Return the table of a server, which is called home."""
    return f"""\
[[server]]
name = "home"
listen = ["0.0.0.0:{PORT}"]
service = "127.0.0.1:{service_port}"
transport = "obfs4"
front = {front}
"""


def start_tunnels(machine: SystemdMachine, server: str) -> str:
    """Start pt-bridge.service with a server; a reload adds its client.

    Returns:
        The options of the server's clients.
    """
    tunnels(machine, server)
    machine.run("systemctl", "enable", "--now", TUNNELS)
    machine.wait_for(TUNNELS, "pt-bridge[home]: ready: ")
    options = clients_options(machine, "pt-bridge-run/pt-bridge")
    client = f"""\
[[client]]
name = "away"
listen = "127.0.0.1:{SOCKS_PORT}"
server = "127.0.0.1:{PORT}"
plugin-opts = "{options}"
"""
    tunnels(machine, server, client)
    machine.run("systemctl", "reload", TUNNELS)
    machine.wait_for(TUNNELS, "pt-bridge[away]: ready: ")
    return options


def test_several_tunnels_are_one_unit_and_a_reload_adds_one(
    machine: SystemdMachine, service: Service
) -> None:
    """Its user is one of systemd's making, and gets a copy of the file each time."""
    options = start_tunnels(machine, server_table(service.address[1]))
    assert_uploads(machine)
    assert machine.journal(TUNNELS).count("pt-bridge[home]: starting ") == 1
    assert_runs(machine, TUNNELS)
    stop_cleanly(machine, TUNNELS)
    assert_nothing_runs(machine)
    assert_no_secret(machine, options)


@pytest.mark.parametrize("front", ["true", "false"])
def test_pt_bridge_itself_is_upgraded_by_a_reload(
    machine: SystemdMachine, service: Service, front: str
) -> None:
    """100 tunnels go on, others come meanwhile, and systemd knows the new one."""
    start_tunnels(machine, server_table(service.address[1], front=front))
    before = machine.run("systemctl", "show", "--property=MainPID", TUNNELS)
    with contextlib.ExitStack() as stack:
        with machine.inside():
            open_ones = [
                stack.enter_context(connect(CLIENT_ADDRESS)) for _ in range(100)
            ]
        for sock in open_ones:
            sock.sendall(b"ECHO\n")
        assert all(echoes(sock) for sock in open_ones)
        (package,) = machine.root.glob("opt/pt-bridge/lib/python3*/site-packages")
        (package / "pt_bridge/__init__.py").touch()
        machine.run("systemctl", "reload", TUNNELS)
        while "is ready: ending with the last" not in machine.journal(TUNNELS):
            assert "was not taken" not in machine.journal(TUNNELS)
            with machine.inside(), connect(CLIENT_ADDRESS) as sock:
                sock.sendall(b"ECHO\n")
                assert echoes(sock)
        assert all(echoes(sock) for sock in open_ones)
        assert_uploads(machine)
        after = machine.run("systemctl", "show", "--property=MainPID", TUNNELS)
        assert after != before
        assert_runs(machine, TUNNELS)
    machine.wait_for(TUNNELS, "pt-bridge: stopped")
    assert_uploads(machine)
    assert machine.run("systemctl", "show", "--property=MainPID", TUNNELS) == after
    assert_runs(machine, TUNNELS)
    stop_cleanly(machine, TUNNELS)
    assert_nothing_runs(machine)


def echoes(sock: socket.socket) -> bool:
    """Send checked content, and see that the same comes back."""
    data = os.urandom(50_000)
    sock.sendall(data)
    got = b""
    while len(got) < len(data) and (more := sock.recv(len(data) - len(got))):
        got += more
    return got == data


def test_a_port_of_systemds_stays_open_while_we_are_started_anew(
    machine: SystemdMachine,
) -> None:
    """Socket activation: a connection that comes meanwhile waits, and is carried."""
    tunnels(machine, server_table(1))
    machine.write(
        "/etc/systemd/system/pt-bridge.socket",
        f"[Socket]\nListenStream=0.0.0.0:{PORT}\n[Install]\nWantedBy=sockets.target\n",
    )
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", "pt-bridge.socket")
    machine.run("systemctl", "start", TUNNELS)
    machine.wait_for(TUNNELS, "ready: ")
    machine.run("systemctl", "stop", TUNNELS)
    assert_open(machine, PORT)  # and systemd starts the unit for it
    assert_ready(machine, TUNNELS, times=2)
    machine.run("systemctl", "stop", "pt-bridge.socket", TUNNELS)


def test_our_server_may_have_a_port_below_1024(machine: SystemdMachine) -> None:
    """AmbientCapabilities=: its user is nobody in particular."""
    unit = settings(
        machine,
        "server",
        "LOCAL=127.0.0.1:1\nREMOTE=0.0.0.0:443\nOPTIONS='transport=obfs4'\n",
    )
    machine.run("systemctl", "start", unit)
    assert_open(machine, 443)
    stop_cleanly(machine, unit)


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        (r"odd=a\;b\\c\=d==", r"odd=a\;b\\c=d=="),
        (r"o\=dd=1", r"o\=dd=1"),
        (
            'odd=a  "quoted" # word %i %% $HOME ${LOCAL}',
            'odd=a  "quoted" # word %i %% $HOME ${LOCAL}',
        ),
    ],
)
def test_what_stands_between_single_quotes_reaches_the_pt(
    machine: SystemdMachine, argument: str, expected: str
) -> None:
    """The one rule of the settings file: nothing needs a backslash more than it has."""
    unit = settings(
        machine,
        "server",
        f"LOCAL=127.0.0.1:1\nREMOTE=127.0.0.1:{PORT}\n"
        f"OPTIONS='transport=obfs3;exec=obfs4proxy;{argument}'\n",
    )
    machine.run("systemctl", "start", unit)
    (pt,) = machine.processes()["obfs4proxy"]
    given = dict(
        line.split("=", 1) for line in (pt / "environ").read_text().split("\0") if line
    )
    # In the PT specification's own words.
    assert given["TOR_PT_SERVER_TRANSPORT_OPTIONS"] == f"obfs3:{expected}"


def test_a_unit_is_not_tried_again_with_options_that_are_wrong(
    machine: SystemdMachine,
) -> None:
    """What only its owner can mend ends it, and the journal says what it was."""
    unit = settings(
        machine,
        "server",
        f"LOCAL=127.0.0.1:1\nREMOTE=127.0.0.1:{PORT}\n"
        "OPTIONS='transport=obfs4;linger=soon'\n",
    )
    machine.fails("systemctl", "start", unit)
    is_so = machine.show(unit, "ActiveState", "ExecMainStatus", "NRestarts")
    assert is_so == ["failed", str(OptionsError.exit_code), "0"]
    machine.wait_for(unit, "linger")
    assert_nothing_runs(machine)


# The documentation's recipes


SERVERS = "docs/server.rst"
NEW_PORT = 443
# A shell's way to do as somebody with two windows does.
IN_TWO_WINDOWS = (
    "{start} & until test -s {file}; do kill -0 $! || exit 1; done; kill $!; wait $!"
)


def test_a_server_keeps_its_keys_wherever_it_goes(
    machine: SystemdMachine, tmp_path: Path
) -> None:
    """From the README's commands to Debian's unit, another port, another machine."""
    start, show = commands(blocks(README, "obfs4 in two commands")[0])
    file = show.removeprefix("cat ")
    machine.run("sh", "-c", IN_TWO_WINDOWS.format(start=start, file=file))
    options = machine.run("cat", file)

    (text,) = blocks(README, "config.json")
    configuration = "/etc/shadowsocks-libev/config.json"
    machine.write(configuration, text)
    machine.run("systemctl", "restart", WHOLE.unit)
    assert_ready(machine, WHOLE.unit)
    assert machine.run("cat", file) == options

    machine.run("systemctl", "stop", WHOLE.unit)
    (rename,) = blocks(SERVERS, "When the port changes")
    assert str(NEW_PORT) in rename
    machine.run("sh", "-c", rename)
    machine.write(configuration, replace(text, {str(PORT): str(NEW_PORT)}))
    allow_ports_below_1024(machine)
    machine.run("systemctl", "start", WHOLE.unit)
    assert_ready(machine, WHOLE.unit, times=2)
    moved = file.replace(str(PORT), str(NEW_PORT))
    assert machine.run("cat", moved) == options

    machine.run("systemctl", "stop", WHOLE.unit)
    pack, unpack = blocks(SERVERS, "Moving to another machine")
    machine.run("sh", "-c", f"cd /root && {pack}")
    other = another(tmp_path)
    try:
        (other.root / "root/keys.tar.gz").write_bytes(
            (machine.root / "root/keys.tar.gz").read_bytes()
        )
        allow_ports_below_1024(other)
        other.run("sh", "-e", "-c", f"cd /root\n{unpack}")
        other.write(configuration, replace(text, {str(PORT): str(NEW_PORT)}))
        other.run("systemctl", "restart", WHOLE.unit)
        assert_ready(other, WHOLE.unit)
        assert other.run("cat", moved) == options
    finally:
        other.close()


def allow_ports_below_1024(machine: SystemdMachine) -> None:
    """Do what the documentation's sysctl does, whose file is read-only there."""
    (allow,) = blocks(SERVERS, "Ports and firewall")
    name, _, value = allow.removeprefix("sysctl ").partition("=")
    with machine.inside():
        Path("/proc/sys", name.replace(".", "/")).write_text(value)


def another(tmp_path: Path) -> SystemdMachine:
    """Boot another machine, with pt-bridge."""
    folder = tmp_path / "another"
    folder.mkdir()
    machine = SystemdMachine(folder)
    try:
        machine.install()
    except BaseException:
        machine.close()
        raise
    return machine
