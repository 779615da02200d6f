"""A machine with a systemd of its own: the real one, booted in namespaces.

Its files are this machine's, below a layer that takes what is written. So Debian's
packages are installed there, and pt-bridge is, as the README says. Nothing of it can be
left: its mounts, processes and namespaces go with it, and it goes when we do, however
that is.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import re
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from integration.support.internet import in_network
from integration.support.programs import DEADLINE as PATIENCE
from integration.support.programs import ROOT, find, wait_until
from tests.support.child_processes import children

if TYPE_CHECKING:
    from collections.abc import Iterator

BOOT = os.path.join(ROOT, "integration/support/boot_systemd.sh")
UNITS = Path(ROOT, "systemd")
PREFIX = "/opt/pt-bridge"
PYTHON = "/usr/bin/python3"
# systemd's own for what it starts, and a user's.
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# For one command; longer than systemd gives our units to start (90), so that its own
# words are heard.
DEADLINE = 120.0  # seconds
BOOTED = {"running", "degraded"}


class SystemdMachine:
    """A machine that runs until it is closed.

    Attributes:
        root: its root folder. (A link there that begins with ``/`` leads astray.)
        pid: its systemd's process id, as seen from here.
    """

    def __init__(self, folder: Path) -> None:
        """Boot it.

        Args:
            folder: an empty one, which is its mount point.
        """
        self._log = folder.with_name(f"{folder.name}.log")
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [find("unshare"), "--mount", "--propagation=private", BOOT, folder],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        assert self._process.stdout is not None
        pid = self._process.stdout.readline()
        if not pid:
            self._process.communicate()
            pytest.fail(f"no systemd can be booted here:\n{self._log.read_text()}")
        self.pid = int(pid)
        self.root = Path(f"/proc/{self.pid}/root")
        self._network = os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY)
        try:
            wait_until(self._listens, "systemd listens", within=DEADLINE)
            state = self._do("systemctl", "is-system-running", "--wait").stdout.strip()
            assert state in BOOTED, state
        except BaseException:
            self.close()
            raise

    def _listens(self) -> bool:
        try:
            name = Path(f"/proc/{self.pid}/comm").read_text().strip()
        except FileNotFoundError:
            pytest.fail(f"systemd has ended:\n{self._log.read_text()}")
        # Until it has become systemd, its root folder is ours.
        return name == "systemd" and (self.root / "run/systemd/private").exists()

    def _there(self, *command: str) -> list[str]:
        """Return the command that runs a command there."""
        environment = ("env", "-i", f"PATH={SEARCH_PATH}", "LANG=C.UTF-8", "HOME=/root")
        there = [find("nsenter"), f"--target={self.pid}", "--all", "--root", "--wd"]
        return [*there, *environment, *command]

    def _do(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self._there(*command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )

    def run(self, *command: str) -> str:
        """Run a command there as root, and return what it writes; fail where it fails.

        Args:
            command: a program, and its arguments.
        """
        done = self._do(*command)
        said = f"{' '.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}"
        assert done.returncode == 0, f"{said}\n{self.journal()}"
        return done.stdout

    def fails(self, *command: str) -> None:
        """Run a command there as root that must fail."""
        done = self._do(*command)
        assert done.returncode != 0, f"{done.stdout}\n{self.journal()}"

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file of root's there.

        Args:
            path: an absolute path there.
            text: what is in it.
            mode: who may read it.
        """
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)

    def install(self) -> None:
        """Install pt-bridge where the README does, and its units, from the checkout."""
        self.run(PYTHON, "-m", "venv", "--without-pip", PREFIX)
        (packages,) = self.root.glob(f"{PREFIX[1:]}/lib/python3*/site-packages")
        shutil.copytree(Path(ROOT, "pt_bridge"), packages / "pt_bridge")
        for requirement in importlib.metadata.requires("pt-bridge") or []:
            if "extra ==" not in requirement:
                _copy_distribution(re.split(r"[^\w-]", requirement)[0], packages)
        program = Path(ROOT, "bin/pt-bridge").read_text()
        start = f"#!{PREFIX}/bin/python3\n"
        self.write(f"{PREFIX}/bin/pt-bridge", re.sub(r"^#!.*\n", start, program), 0o755)
        (self.root / "usr/local/bin/pt-bridge").symlink_to(f"{PREFIX}/bin/pt-bridge")
        shutil.copytree(UNITS, self.root / "etc/systemd/system", dirs_exist_ok=True)
        self.run("systemctl", "daemon-reload")

    def show(self, unit: str, *names: str) -> list[str]:
        """Return what systemd knows of a unit, a value for each property's name."""
        wanted = f"--property={','.join(names)}"
        lines = self.run("systemctl", "show", wanted, unit).splitlines()
        known = dict(line.split("=", 1) for line in lines)
        return [known[name] for name in names]

    def journal(self, unit: str | None = None) -> str:
        """Return what the journal has of a unit, or of all."""
        which = () if unit is None else (f"--unit={unit}",)
        self._do("journalctl", "--sync")
        return self._do("journalctl", "--no-pager", "--output=cat", *which).stdout

    def wait_for(self, unit: str, words: str, times: int = 1) -> None:
        """Wait until the journal has these words of a unit, so many times."""
        command = ("journalctl", "--follow", "--no-tail", "--output=cat")
        with subprocess.Popen(
            self._there(*command, f"--unit={unit}"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as follower:
            assert follower.stdout is not None
            try:
                found = _comes(follower.stdout.fileno(), words.encode(), times)
            finally:
                for each in children(follower.pid):  # nsenter ends with it
                    each.kill()
        if not found:
            pytest.fail(f"{unit} did not write {words!r}:\n{self.journal()}")

    def processes(self) -> dict[str, list[Path]]:
        """Return the folder in /proc of each process there, by the process's name."""
        found: dict[str, list[Path]] = {}
        for folder in (self.root / "proc").glob("[0-9]*"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                name = (folder / "comm").read_text().strip()
                found.setdefault(name, []).append(folder)
        return found

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Move this thread into its network for the block, and sockets made then."""
        with in_network(self._network):
            yield

    def close(self) -> None:
        """End everything there, and wait until it is gone."""
        os.close(self._network)
        self._process.communicate(timeout=DEADLINE)
        assert self._process.returncode == 0, self._log.read_text()


@contextlib.contextmanager
def installed(folder: Path) -> Iterator[SystemdMachine]:
    """Boot a machine that has Debian's packages, with pt-bridge, for the block.

    Args:
        folder: what is made here is its mount point.
    """
    mount_point = folder / "machine"
    mount_point.mkdir()
    with contextlib.closing(SystemdMachine(mount_point)) as machine:
        machine.install()
        yield machine


def _comes(descriptor: int, words: bytes, times: int) -> bool:
    """Read until there were these words so many times; return whether they came."""
    until = time.monotonic() + PATIENCE
    text = b""
    while text.count(words) < times:
        left = max(0.0, until - time.monotonic())
        readable, _, _ = select.select([descriptor], [], [], left)
        data = os.read(descriptor, 65536) if readable else b""
        if not data:
            return False
        text += data
    return True


def _copy_distribution(name: str, packages: Path) -> None:
    """Copy what pip has installed for us."""
    for file in importlib.metadata.files(name) or []:
        if ".." not in file.parts:
            target = packages / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file.locate(), target)
