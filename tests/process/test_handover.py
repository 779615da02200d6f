"""pt-bridge itself is replaced by another version: a real one, installed twice."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

import pt_bridge
from tests.support.processes import CLIENT, SERVER, exchange, until
from tests.support.tunnel_rig import REPLACED_HAS_ENDED

if TYPE_CHECKING:
    import socket

    from tests.support.tunnel_rig import TunnelRig


class Systemd:
    """What is told to systemd, of which process."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.told: list[str] = []

    def hear(self, text: str) -> str:
        """Wait until something was told that begins so; return it."""
        while not (found := [each for each in self.told if each.startswith(text)]):
            self.told.append(self._sock.recv(1000).decode())
        return found[-1]


@pytest.fixture
def systemd(rig: TunnelRig) -> Systemd:
    return Systemd(rig.bench.systemd())


@pytest.fixture
def installed(rig: TunnelRig) -> Path:
    """Return the file by which another version is known, of a copy of its own."""
    ours = Path(pt_bridge.__file__).parent
    copy = rig.bench.folder / "lib" / "pt_bridge"
    shutil.copytree(ours, copy, ignore=shutil.ignore_patterns("__pycache__"))
    rig.bench.variables["PYTHONPATH"] = str(copy.parent)
    rig.folder = rig.bench.folder  # where no other version is
    return copy / "__init__.py"


def upgrade(installed: Path, more: str = "") -> None:
    new = installed.with_name("new")
    new.write_text(f"{installed.read_text()}\n{more}\n")
    os.replace(new, installed)


def ended(pid: int) -> None:
    """Stop the one that has taken over, whose parent is not us."""
    process = psutil.Process(pid)
    process.terminate()
    until(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)


def test_what_is_open_goes_on_and_the_new_one_has_what_comes(
    rig: TunnelRig, systemd: Systemd, installed: Path
) -> None:
    program = rig.run_client()
    assert systemd.hear("READY=1")
    old = rig.open()
    rig.pt.play("tell waits", "await", *CLIENT)
    upgrade(installed)
    rig.signal(signal.SIGHUP)
    rig.pt.event("waits")
    between = rig.open()
    rig.pt.open_gate()
    pid = int(systemd.hear("MAINPID=").partition("=")[2])
    assert pid != program.process.pid
    new = rig.open()
    for tunnel in (old, between, new):
        exchange(*tunnel)
    for end in (*old, *between):
        end.close()
    program.said(REPLACED_HAS_ENDED)
    until(lambda: program.process.poll() is not None)
    assert program.process.returncode == 0
    exchange(*new)
    rig.carries()
    ended(pid)
    assert systemd.hear("STOPPING=1")


def test_a_new_one_that_does_not_work_is_not_taken(
    rig: TunnelRig, systemd: Systemd, installed: Path
) -> None:
    """It ends at once, or one of its tunnels fails."""
    program = rig.run_client()
    assert systemd.hear("READY=1")
    content = installed.read_text()
    upgrade(installed, "raise SystemExit('broken')")
    not_taken = "the new pt-bridge was not taken"
    rig.signal(signal.SIGHUP, f"{not_taken}: it has ended, and said why")
    rig.carries()
    installed.write_text(f"{content}\n\n")
    rig.pt.play("exit 1")
    failed = "pt-bridge[one]: error: this tunnel has failed: not taking over"
    rig.signal(signal.SIGHUP, failed)
    until(lambda: program.heard().count(not_taken) == 2)
    rig.carries()
    rig.stop()
    assert not [each for each in systemd.told if "MAINPID" in each]


@pytest.mark.parametrize("of_a_file", [True, False])
@pytest.mark.parametrize("front", [True, False])
def test_a_server_is_taken_over_with_a_front_and_without(
    rig: TunnelRig, systemd: Systemd, installed: Path, *, front: bool, of_a_file: bool
) -> None:
    """Without, its PT gives up the port when the new one was tried out."""
    plays = ("gives-up-port", *SERVER)
    if of_a_file:
        rig.pt.play(*plays)
        rig.run(rig.server(more="front = true" if front else "front = false"))
    else:
        rig.start_server(*["--front=yes"] * front, plays=plays)
    assert systemd.hear("READY=1")
    old = rig.open(id=b"the old.")
    upgrade(installed)
    rig.signal(signal.SIGHUP)
    pid = int(systemd.hear("MAINPID=").partition("=")[2])
    rig.is_replaced()
    new = rig.open(id=b"the new.")
    exchange(*old)
    exchange(*new)
    ended(pid)
    rig.signal(signal.SIGTERM)
    rig.program.wait()


def test_without_systemd_it_says_what_to_do(rig: TunnelRig, installed: Path) -> None:
    """Who else looks after it would take the old one's end for its own."""
    rig.run_client()
    upgrade(installed)
    rig.signal(
        signal.SIGHUP,
        "pt-bridge was upgraded: restart it for that",
        "pt-bridge: reloaded: ",
    )
    rig.stop()


def test_a_stop_ends_the_one_that_is_being_started(
    rig: TunnelRig, systemd: Systemd, installed: Path
) -> None:
    rig.run_client()
    assert systemd.hear("READY=1")
    rig.pt.play("tell waits", "await", *CLIENT)
    upgrade(installed)
    rig.signal(signal.SIGHUP)
    rig.pt.event("waits")
    rig.stop()
