"""The units in ``systemd/``: systemd reads them as we mean them, and they work.

No systemd runs here. Its own programs check the units and read the settings file; we
stand for the rest: ExecStart=, the notify socket, the folders.
"""

from __future__ import annotations

import ctypes
import os
import re
import shlex
import shutil
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from integration.endpoints import MIB, connect, digest, download, free_port, upload
from integration.programs import DEADLINE, ROOT, find
from pt_bridge import errors
from pt_bridge.own_options import OPTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.endpoints import Service
    from integration.machine import Machine
    from integration.programs import Program

ANALYZE = "systemd-analyze"
# It reads NAME=VALUE files with the code that reads EnvironmentFile=, and differs in
# one thing: it expands `$`.
READER = Path("/usr/lib/systemd/user-environment-generators").joinpath(
    "30-systemd-environment-d-generator"
)
UNITS = Path(ROOT, "systemd")
OURS = [f"pt-bridge-{role}@.service" for role in ("client", "server")]
DROP_INS = sorted(path.parent.name for path in UNITS.glob("*.d/pt-bridge.conf"))
DEBIANS = Path("/lib/systemd/system")
CONFINED = os.path.join(ROOT, "integration/confined.py")
INSTANCE = "name"
FOLDERS = {
    "StateDirectory": "STATE_DIRECTORY",
    "RuntimeDirectory": "RUNTIME_DIRECTORY",
}
PR_GET_MDWE = 66  # prctl(2), Linux 6.3

pytestmark = pytest.mark.skipif(
    shutil.which(ANALYZE) is None or not READER.exists(),
    reason="systemd's own programs are not installed",
)


class Unit:
    """One of our units.

    Attributes:
        settings: the values of each key, in order.
    """

    def __init__(self, role: str) -> None:
        """Read it."""
        self.settings: dict[str, list[str]] = {}
        for line in (UNITS / f"pt-bridge-{role}@.service").read_text().splitlines():
            key, equals, value = line.partition("=")
            if equals and not line.startswith("#"):
                self.settings.setdefault(key, []).append(value)

    def the(self, key: str) -> str:
        """Give the value of what is there once."""
        (value,) = self.settings[key]
        return value

    def command(self, variables: dict[str, str]) -> list[str]:
        """Give the command line, with systemd's rules for ``${NAME}`` and ``$NAME``."""
        words: list[str] = []
        for word in self.the("ExecStart").split():
            if whole := re.fullmatch(r"\$\{(\w+)\}", word):
                words.append(variables.get(whole[1], ""))
            elif parts := re.fullmatch(r"\$(\w+)", word):
                words += variables[parts[1]].split()
            else:
                assert "$" not in word
                words.append(word)
        return words


class Systemd:
    """What systemd is for its services: it starts them, and hears how they are."""

    def __init__(self, machine: Machine) -> None:
        """Listen for services that will be started on this machine."""
        self.path = machine.folder / "notify"
        self._machine = machine
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sock.bind(str(self.path))
        self._sock.settimeout(DEADLINE)

    def start(self, role: str, settings: str, *, confined: bool = False) -> Program:
        """Start a unit.

        Args:
            role: client or server.
            settings: what is in /etc/pt-bridge/NAME.conf.
            confined: deny what the kernel can be told to without systemd.
        """
        unit = Unit(role)
        (default,) = unit.settings["Environment"]
        name, _, value = default.partition("=")
        given = {name: value, **self._read(settings)}
        program, *arguments = unit.command(given)
        variables = {**self._machine.variables(), **given}
        variables["NOTIFY_SOCKET"] = str(self.path)
        for key, variable in FOLDERS.items():
            if key in unit.settings:
                name = unit.the(key).replace("%i", INSTANCE)
                folder = self._machine.folder / key / name
                folder.mkdir(0o700, parents=True)
                variables[variable] = str(folder)
        if confined:
            path = find(program)
            program, arguments = "python3", [CONFINED, path, *arguments]
        return self._machine.start(program, *arguments, variables=variables)

    def _read(self, settings: str) -> dict[str, str]:
        folder = self._machine.folder / "environment.d"
        folder.mkdir(exist_ok=True)
        (folder / "name.conf").write_text(settings)
        done = subprocess.run(
            [READER],
            env={"XDG_CONFIG_HOME": str(self._machine.folder), "HOME": "/"},
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=True,
        )
        assert done.stderr == ""
        return dict(
            word.split("=", 1) for word in shlex.split(done.stdout) if "=" in word
        )

    def hears(self) -> str:
        """Wait for what a service says."""
        return self._sock.recv(1000).decode()

    def hears_nothing(self) -> bool:
        """Tell whether no service has said anything more."""
        self._sock.setblocking(False)
        try:
            self._sock.recv(1000)
        except BlockingIOError:
            return True
        finally:
            self._sock.settimeout(DEADLINE)
        return False

    def close(self) -> None:
        """Be gone."""
        self._sock.close()


@pytest.fixture
def systemd(machine: Machine) -> Iterator[Systemd]:
    """Stand for systemd."""
    systemd = Systemd(machine)
    yield systemd
    systemd.close()


def _verify(folder: Path, unit: str) -> str:
    """Give what systemd says of a unit: nothing, or it is wrong."""
    done = subprocess.run(
        [ANALYZE, "verify", "--man=no", "--recursive-errors=no", str(folder / unit)],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    complaints = done.stdout + done.stderr
    assert (done.returncode == 0) == (not complaints), complaints
    return complaints


def _installed(folder: Path, unit: str) -> Path:
    """Install a unit, or Debian's with our drop-in; give the file that is ours."""
    if unit in OURS:
        text = (UNITS / unit).read_text()
        # systemd looks for it in its own PATH, where it need not be here.
        text = text.replace("ExecStart=pt-bridge ", f"ExecStart={find('pt-bridge')} ")
        (folder / unit).write_text(text)
        return folder / unit
    if not (DEBIANS / unit).exists():
        pytest.skip("Debian's shadowsocks-libev is not installed")
    shutil.copyfile(DEBIANS / unit, folder / unit)
    shutil.copytree(UNITS / f"{unit}.d", folder / f"{unit}.d")
    return folder / f"{unit}.d" / "pt-bridge.conf"


@pytest.mark.parametrize("unit", [*OURS, *(name[:-2] for name in DROP_INS)])
def test_systemd_understands_every_line_of(tmp_path: Path, unit: str) -> None:
    """Issue 4, item 7; what it does not understand, it leaves out with a warning."""
    ours = _installed(tmp_path, unit)
    assert _verify(tmp_path, unit) == ""
    # It has read what is ours, too: its silence means something.
    ours.write_text(ours.read_text().replace("LimitNOFILE=", "LimitNOFILE=many"))
    assert "Failed to parse resource value" in _verify(tmp_path, unit)


@pytest.mark.parametrize("confined", [False, True], ids=["open", "confined"])
def test_both_units_carry_traffic_and_say_how_they_are(
    machine: Machine, service: Service, systemd: Systemd, *, confined: bool
) -> None:
    """Issue 4, item 7: the settings of the README, readiness, and the stop."""
    if confined and ctypes.CDLL(None).prctl(PR_GET_MDWE, 0, 0, 0, 0) < 0:
        pytest.skip("this kernel cannot deny that memory is written and executed")
    local, remote = free_port(), free_port()
    server = systemd.start(
        "server",
        f"LOCAL=127.0.0.1:{service.address[1]}\n"
        f"REMOTE=0.0.0.0:{remote}\n"
        "OPTIONS='transport=obfs4'\n",
        confined=confined,
    )
    assert systemd.hears() == "READY=1"
    state = machine.folder / "StateDirectory/pt-bridge-server/name"
    options = machine.client_options(server)
    assert list(state.rglob("client-options.txt"))
    client = systemd.start(
        "client",
        f"LOCAL=127.0.0.1:{local}\n"
        f"REMOTE=127.0.0.1:{remote}\n"
        f"OPTIONS='{options}'\n"
        "FLAGS=--loglevel debug --idle 600\n",
        confined=confined,
    )
    assert systemd.hears() == "READY=1"
    client.wait_for("debug: ")
    with connect(("127.0.0.1", local)) as sock:
        assert upload(sock, MIB) == digest(MIB)
    with connect(("127.0.0.1", local)) as sock:
        assert download(sock, MIB) == digest(MIB)
    temporary = machine.folder / "RuntimeDirectory/pt-bridge-client/name"
    assert list(temporary.iterdir())
    for program in (client, server):
        assert systemd.hears_nothing()
        assert program.stop() == 0
        assert systemd.hears() == "STOPPING=1"
    assert not list(temporary.iterdir())
    assert systemd.hears_nothing()


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        (r"odd=a\;b\\c\=d==", r"odd=a\;b\\c=d=="),
        (r"o\=dd=1", r"o\=dd=1"),
        ('odd=a  "quoted" # word %i %%', 'odd=a  "quoted" # word %i %%'),
    ],
)
def test_what_stands_between_single_quotes_reaches_the_pt(
    machine: Machine, systemd: Systemd, argument: str, expected: str
) -> None:
    """The one rule of the settings file: nothing needs a backslash more than it has."""
    systemd.start(
        "server",
        f"LOCAL=127.0.0.1:1\nREMOTE=127.0.0.1:{free_port()}\n"
        f"OPTIONS='transport=obfs3;exec=obfs4proxy;{argument}'\n",
    )
    assert systemd.hears() == "READY=1"
    (pt,) = machine.processes()["obfs4proxy"]
    given = pt.environ()["TOR_PT_SERVER_TRANSPORT_OPTIONS"]
    assert given == f"obfs3:{expected}"  # in the PT specification's own words


@pytest.mark.parametrize("role", ["client", "server"])
def test_a_unit_is_not_restarted_for_what_its_owner_must_mend(role: str) -> None:
    """Conformance 11: nor is it given up for what may pass."""
    for_the_owner: set[type[errors.ConfigError] | type[errors.TransportError]] = {
        errors.UsageError,
        errors.OptionsError,
        errors.NotOffered,
        errors.ProxyRefused,
        errors.ProgramError,
        errors.StateError,
        errors.OwnerFileError,
    }
    given = Unit(role).the("RestartPreventExitStatus").split()
    assert {int(code) for code in given} == {each.exit_code for each in for_the_owner}


@pytest.mark.parametrize("role", ["client", "server"])
def test_a_unit_waits_longer_than_pt_bridge_does(role: str) -> None:
    """Else systemd would kill what was about to say why it is late."""
    default = re.search(r"\((\d+)\)", OPTIONS["start-timeout"].meaning)
    assert default
    assert int(Unit(role).the("TimeoutStartSec")) > int(default[1])
