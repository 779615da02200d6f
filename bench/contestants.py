"""Who is measured: each is started afresh, in front of a far end of its own.

=============== ======================================================================
direct          nobody: the client is connected to the far end itself
pt-bridge       ``pt-bridge client``, as it is installed; its PT is the far end, and
                speaks the session
pt-bridge plain the same with session=0
pt-bridge 0.1   the version before the session, with hold=plain; only where it is
                installed
HAProxy         mode tcp, one thread
HAProxy splice  the same with ``option splice-auto``
ptadapter       its own program, ``ptadapter -C``; its PT is the far end
socat           a process per connection
=============== ======================================================================
"""

from __future__ import annotations

import functools
import os
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from bench import far_end, processes, watched
from bench.goals import (
    OURS,
    OURS_01,
    OURS_PLAIN,
)
from bench.processes import find, running, variables
from bench.traffic import connect, round_trips

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from bench.traffic import Address, Dial

ROOT = Path(__file__).parent.parent
# Where scripts/bench has installed what is compared.
VENVS = ROOT / ".bench"
PT_BRIDGE_PYTHON = str(VENVS / "pt-bridge/bin/python")
PT_BRIDGE = str(VENVS / "pt-bridge/bin/pt-bridge")
# The version before the session, where this repository has it.
PT_BRIDGE_01 = str(VENVS / "pt-bridge-0.1/bin/pt-bridge")
PTADAPTER = str(VENVS / "ptadapter/bin/ptadapter")
TRANSPORT = "null"
# A far end that is a PT is told where to go, and goes nowhere.
NOWHERE = "127.0.0.1:1"

HAPROXY_CONFIG = """\
global
    nbthread 1
    maxconn 4000
defaults
    mode tcp
    timeout connect 30s
    timeout client 300s
    timeout server 300s
    {option}
listen relay
    bind {address}
    server far {far}
"""
PTADAPTER_CONFIG = """\
[client]
exec = {pt}
state = {state}
tunnels = only
[only]
transport = {transport}
listen = {address}
upstream = {nowhere}
"""


@dataclass(frozen=True)
class Relay:
    """A contestant that runs.

    Attributes:
        dial: connects through it to the far end.
        pid: its process, or None where there is none.
        per_connection: whether it starts a process for each connection.
        folder: where its output is, in `log`.
    """

    dial: Dial
    pid: int | None
    folder: Path
    per_connection: bool = False

    def cpu_seconds(self) -> float:
        """Return the time on a CPU that it has had so far."""
        if self.pid is None:
            return 0.0
        pids = [self.pid]
        if self.per_connection:
            pids += processes.children(self.pid)
        return processes.cpu_seconds(pids)

    def come_to_rest(self) -> None:
        """Wait until its connections' processes have ended, where it has such."""
        if self.per_connection and self.pid is not None:
            pid = self.pid
            processes.wait_until(lambda: not processes.children(pid), "they end")

    def tasks(self) -> int:
        """Return how many asyncio tasks it has; only where it is watched."""
        assert self.pid is not None  # else nobody asks
        log = self.folder / "log"
        told_before = log.read_text(errors="replace").count("\ntasks ")
        os.kill(self.pid, watched.TELL)
        processes.wait_until(
            lambda: log.read_text(errors="replace").count("\ntasks ") > told_before,
            "the number of tasks",
        )
        return int(log.read_text(errors="replace").split("\ntasks ")[-1].split()[0])


def subfolder(folder: Path, name: str) -> Path:
    """Create a new folder for a process."""
    return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=folder))


@contextmanager
def running_far_end(folder: Path) -> Iterator[Address]:
    """Run a far end that is a plain TCP server; return where."""
    with running(
        [sys.executable, "-I", far_end.__file__],
        subfolder(folder, "far-end"),
        is_heard=True,
    ) as process:
        host, _, port = processes.line_of(process, "LISTENING")[1].rpartition(":")
        yield host, int(port)


def write_pt(folder: Path) -> str:
    """Write the far end as a program that can be a PT; return its path."""
    path = folder / "far-end-pt"
    path.write_text(f"#!{sys.executable} -I\n{Path(far_end.__file__).read_text()}")
    path.chmod(0o700)
    return str(path)


@contextmanager
def direct(folder: Path) -> Iterator[Relay]:
    """Run no relay at all."""
    with running_far_end(folder) as address:
        yield Relay(functools.partial(connect, address), None, folder)


@contextmanager
def pt_bridge(
    folder: Path,
    option: str = "session=1",
    *,
    executable: str = PT_BRIDGE,
    is_watched: bool = False,
) -> Iterator[Relay]:
    """Run pt-bridge's client in front of a far end that is its PT."""
    with running_pt_bridge(
        folder,
        f"transport={TRANSPORT};{option}",
        write_pt(folder),
        executable=executable,
        is_watched=is_watched,
    ) as relay:
        yield relay


def pt_bridge_plain(folder: Path) -> AbstractContextManager[Relay]:
    """Run pt-bridge's client, without the session, in front of a far end."""
    return pt_bridge(folder, "session=0")


def pt_bridge_01(folder: Path) -> AbstractContextManager[Relay]:
    """Run the client of the version before the session in front of a far end."""
    return pt_bridge(folder, "hold=plain", executable=PT_BRIDGE_01)


@contextmanager
def running_pt_bridge(
    folder: Path,
    options: str,
    pt: str,
    remote: str = NOWHERE,
    *,
    executable: str = PT_BRIDGE,
    is_watched: bool = False,
) -> Iterator[Relay]:
    """Run pt-bridge's client.

    Args:
        folder: where to put its own.
        options: the plugin options.
        pt: the PT's path.
        remote: the server.
        executable: which pt-bridge.
        is_watched: whether it tells how many tasks it has.
    """
    program = [executable]
    if is_watched:
        program = [PT_BRIDGE_PYTHON, "-I", watched.__file__]
    address = ("127.0.0.1", processes.free_port())
    arguments = [
        *(*program, "client", "--local", f"127.0.0.1:{address[1]}"),
        *("--remote", remote, "--plugin-opts", options, "--exec", pt),
    ]
    folder = subfolder(folder, "pt-bridge")
    with running(arguments, folder) as process:
        yield _ready(process, address, folder)


@contextmanager
def haproxy(folder: Path, option: str = "") -> Iterator[Relay]:
    """Run HAProxy in front of a far end."""
    with running_far_end(folder) as (host, port):
        address = ("127.0.0.1", processes.free_port())
        folder = subfolder(folder, "haproxy")
        config = folder / "haproxy.cfg"
        config.write_text(
            HAPROXY_CONFIG.format(
                option=option, address=f"127.0.0.1:{address[1]}", far=f"{host}:{port}"
            )
        )
        with running([find("haproxy"), "-db", "-f", str(config)], folder) as process:
            yield _ready(process, address, folder)


def haproxy_splice(folder: Path) -> AbstractContextManager[Relay]:
    """Run HAProxy with splicing in front of a far end."""
    return haproxy(folder, "option splice-auto")


@contextmanager
def ptadapter(folder: Path) -> Iterator[Relay]:
    """Run ptadapter's client in front of a far end that is its PT."""
    pt = write_pt(folder)
    address = ("127.0.0.1", processes.free_port())
    folder = subfolder(folder, "ptadapter")
    config = folder / "ptadapter.conf"
    config.write_text(
        PTADAPTER_CONFIG.format(
            pt=pt,
            state=folder / "pt-state",
            transport=TRANSPORT,
            address=f"127.0.0.1:{address[1]}",
            nowhere=NOWHERE,
        )
    )
    with running([PTADAPTER, "-C", str(config)], folder) as process:
        yield _ready(process, address, folder)


@contextmanager
def socat(folder: Path) -> Iterator[Relay]:
    """Run socat in front of a far end."""
    with running_far_end(folder) as (host, port):
        address = ("127.0.0.1", processes.free_port())
        folder = subfolder(folder, "socat")
        arguments = [
            find("socat"),
            f"TCP-LISTEN:{address[1]},bind=127.0.0.1,fork,reuseaddr,nodelay",
            f"TCP:{host}:{port},nodelay",
        ]
        with running(arguments, folder) as process:
            yield _ready(process, address, folder, per_connection=True)


def _ready(
    process: subprocess.Popen[bytes],
    address: Address,
    folder: Path,
    *,
    per_connection: bool = False,
) -> Relay:
    """Wait until a relay listens."""
    processes.wait_for_port(process, address, folder)
    dial = functools.partial(connect, address)
    return Relay(dial, process.pid, folder, per_connection)


CONTESTANTS: dict[str, Callable[[Path], AbstractContextManager[Relay]]] = {
    "direct": direct,
    OURS: pt_bridge,
    OURS_PLAIN: pt_bridge_plain,
    OURS_01: pt_bridge_01,
    "HAProxy": haproxy,
    "HAProxy splice": haproxy_splice,
    "ptadapter": ptadapter,
    "socat": socat,
}


def is_installed(name: str) -> bool:
    """Return whether a contestant can run: a clone may lack the version before."""
    return CONTESTANTS[name] is not pt_bridge_01 or os.path.exists(PT_BRIDGE_01)


class Placement(Enum):
    """Which cores a relay, and the two ends that it joins, may run on.

    A message's way between two cores that are idle costs more than all that a relay
    does with it, and the system puts the three now on one core and now on two: where
    single messages count, that would be all one sees.
    """

    FREE = "wherever the system puts them"
    TOGETHER = "all on one core"
    APART = "the relay on a core of its own, the ends on another"


@contextmanager
def placed(name: str, folder: Path, placement: Placement) -> Iterator[Relay]:
    """Run a contestant, and us with it, where the placement says."""
    cores = sorted(os.sched_getaffinity(0))
    if placement is Placement.APART and len(cores) < 2:
        raise processes.Unavailable("this takes two cores")
    ours = set(cores) if placement is Placement.FREE else {cores[-1]}
    with processes.on_cores(ours), CONTESTANTS[name](folder) as relay:
        if placement is Placement.APART and relay.pid is not None:
            # Only once its PT runs, which would share its core with it.
            round_trips(relay.dial, 1)
            os.sched_setaffinity(relay.pid, {cores[0]})
        yield relay


def start_command(folder: Path) -> tuple[list[str], dict[str, str], Address]:
    """Return what starts pt-bridge as a plugin: arguments, variables, and where."""
    find("obfs4proxy")
    address = ("127.0.0.1", processes.free_port())
    more = variables(
        folder,
        SS_LOCAL_HOST=address[0],
        SS_LOCAL_PORT=str(address[1]),
        SS_REMOTE_HOST="127.0.0.1",
        SS_REMOTE_PORT="1",
        SS_PLUGIN_OPTIONS="transport=obfs3;exec=obfs4proxy",
    )
    return [PT_BRIDGE], more, address
