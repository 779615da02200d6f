"""pt-bridge itself is replaced by another version: a real one, installed twice."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

import pt_bridge
from tests.support.processes import (
    CLIENT,
    PLAIN_OPTIONS,
    SERVER,
    exchange,
    receive,
    until,
)
from tests.support.session_end import SessionEnd

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.processes import Bench, End, Program

TABLE = f"""\
[[client]]
name = "one"
listen = "127.0.0.1:{{}}"
server = "127.0.0.1:{{}}"
plugin-opts = "{PLAIN_OPTIONS}"
"""
SERVER_TABLE = """\
[[server]]
name = "one"
listen = "127.0.0.1:{}"
service = "127.0.0.1:{}"
transport = "obfs4"
exec = "{}"
front = {}
"""


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
def systemd(bench: Bench) -> Iterator[Systemd]:
    path = bench.folder / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(path))
        sock.settimeout(30)
        bench.variables["NOTIFY_SOCKET"] = str(path)
        yield Systemd(sock)


@pytest.fixture
def installed(bench: Bench) -> Path:
    """Return the file by which another version is known, of a copy of its own."""
    ours = Path(pt_bridge.__file__).parent
    copy = bench.folder / "lib" / "pt_bridge"
    shutil.copytree(ours, copy, ignore=shutil.ignore_patterns("__pycache__"))
    bench.variables["PYTHONPATH"] = str(copy.parent)
    return copy / "__init__.py"


@pytest.fixture
def far(bench: Bench) -> socket.socket:
    return bench.listen()


def upgrade(installed: Path, more: str = "") -> None:
    new = installed.with_name("new")
    new.write_text(f"{installed.read_text()}\n{more}\n")
    os.replace(new, installed)


def start(bench: Bench, *arguments: str) -> Program:
    command = [sys.executable, "-m", "pt_bridge", *arguments]
    return bench.run(command, bench.variables, folder=bench.folder)


def client(bench: Bench, far: socket.socket, more: str = "") -> Program:
    path = bench.folder / "the.toml"
    path.write_text(TABLE.format(bench.port, far.getsockname()[1]) + more)
    return start(bench, "run", str(path))


def carried(near: End, bench: Bench, far: socket.socket) -> tuple[End, socket.socket]:
    near.sendall(b"x")
    end = bench.accept(far)
    assert receive(end, 1) == b"x"
    return near, end


def ended(pid: int) -> None:
    """Stop the one that has taken over, whose parent is not us."""
    process = psutil.Process(pid)
    process.terminate()
    until(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)


def test_what_is_open_goes_on_and_the_new_one_has_what_comes(
    bench: Bench, far: socket.socket, systemd: Systemd, installed: Path
) -> None:
    bench.pt.play(*CLIENT)
    program = client(bench, far)
    assert systemd.hear("READY=1")
    old = carried(bench.connect(bench.port), bench, far)
    bench.pt.play("tell waits", "await", *CLIENT)
    upgrade(installed)
    program.signal(signal.SIGHUP)
    bench.pt.event("waits")
    between = carried(bench.connect(bench.port), bench, far)
    bench.pt.open_gate()
    pid = int(systemd.hear("MAINPID=").partition("=")[2])
    assert pid != program.process.pid
    new = carried(bench.connect(bench.port), bench, far)
    for tunnel in (old, between, new):
        exchange(*tunnel)
    for end in (*old, *between):
        end.close()
    program.said("the PT that was replaced has ended")
    until(lambda: program.process.poll() is not None)
    assert program.process.returncode == 0
    exchange(*new)
    exchange(*carried(bench.connect(bench.port), bench, far))
    ended(pid)
    assert systemd.hear("STOPPING=1")


def test_a_new_one_that_does_not_work_is_not_taken(
    bench: Bench, far: socket.socket, systemd: Systemd, installed: Path
) -> None:
    """It ends at once, or one of its tunnels fails."""
    bench.pt.play(*CLIENT)
    program = client(bench, far)
    assert systemd.hear("READY=1")
    content = installed.read_text()
    upgrade(installed, "raise SystemExit('broken')")
    program.signal(signal.SIGHUP)
    program.said("the new pt-bridge was not taken: it has ended, and said why")
    exchange(*carried(bench.connect(bench.port), bench, far))
    installed.write_text(f"{content}\n\n")
    bench.pt.play("exit 1")
    program.signal(signal.SIGHUP)
    program.said("pt-bridge[one]: error: this tunnel has failed: not taking over")
    until(lambda: program.heard().count("the new pt-bridge was not taken") == 2)
    exchange(*carried(bench.connect(bench.port), bench, far))
    bench.stop(program)
    assert not [each for each in systemd.told if "MAINPID" in each]


@pytest.mark.parametrize("front", ["true", "false"])
def test_a_server_is_taken_over_with_a_front_and_without(
    bench: Bench, far: socket.socket, systemd: Systemd, installed: Path, front: str
) -> None:
    """Without, its PT gives up the port when the new one was tried out."""
    bench.pt.play("gives-up-port", *SERVER)
    path = bench.folder / "the.toml"
    port = far.getsockname()[1]
    path.write_text(SERVER_TABLE.format(bench.port, port, bench.pt.path, front))
    program = start(bench, "run", str(path))
    assert systemd.hear("READY=1")
    near = SessionEnd.as_client(bench.connect(bench.port), b"the old.")
    old = carried(near, bench, far)
    upgrade(installed)
    program.signal(signal.SIGHUP)
    pid = int(systemd.hear("MAINPID=").partition("=")[2])
    until(lambda: program.heard().count("]: ready: ") == 2)
    near = SessionEnd.as_client(bench.connect(bench.port), b"the new.")
    new = carried(near, bench, far)
    exchange(*old)
    exchange(*new)
    ended(pid)
    program.signal(signal.SIGTERM)
    program.wait()


@pytest.mark.parametrize("front", [[], ["--front=yes"]])
def test_a_server_by_itself_is_taken_over(
    bench: Bench,
    far: socket.socket,
    systemd: Systemd,
    installed: Path,
    front: list[str],
) -> None:
    bench.pt.play("gives-up-port", *SERVER)
    program = start(
        bench,
        "server",
        f"--local=127.0.0.1:{far.getsockname()[1]}",
        f"--remote=127.0.0.1:{bench.port}",
        "--transport=obfs4",
        f"--exec={bench.pt.path}",
        *front,
    )
    assert systemd.hear("READY=1")
    near = SessionEnd.as_client(bench.connect(bench.port), b"the old.")
    old = carried(near, bench, far)
    upgrade(installed)
    program.signal(signal.SIGHUP)
    pid = int(systemd.hear("MAINPID=").partition("=")[2])
    until(lambda: program.heard().count("]: ready: ") == 2)
    near = SessionEnd.as_client(bench.connect(bench.port), b"the new.")
    new = carried(near, bench, far)
    exchange(*old)
    exchange(*new)
    ended(pid)
    program.signal(signal.SIGTERM)
    program.wait()


def test_without_systemd_it_says_what_to_do(
    bench: Bench, far: socket.socket, installed: Path
) -> None:
    """Who else looks after it would take the old one's end for its own."""
    bench.pt.play(*CLIENT)
    program = client(bench, far)
    program.said("ready: ")
    upgrade(installed)
    program.signal(signal.SIGHUP)
    program.said("pt-bridge was upgraded: restart it for that")
    program.said("pt-bridge: reloaded: ")
    bench.stop(program)


def test_a_stop_ends_the_one_that_is_being_started(
    bench: Bench, far: socket.socket, systemd: Systemd, installed: Path
) -> None:
    bench.pt.play(*CLIENT)
    program = client(bench, far)
    assert systemd.hear("READY=1")
    bench.pt.play("tell waits", "await", *CLIENT)
    upgrade(installed)
    program.signal(signal.SIGHUP)
    bench.pt.event("waits")
    bench.stop(program)
