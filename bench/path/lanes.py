"""What leads from one end of a long path to the other: each a port to connect to.

================== ===================================================================
plain TCP          nobody: the far end itself
shadowsocks        ss-tunnel and ss-server (aes-256-gcm), as all that follow
v2ray-plugin, mux  both with v2ray-plugin: all tunnels share one connection
v2ray-plugin       the same with ``mux=0``: a connection for each
pt-bridge          both with pt-bridge, obfs4proxy and the session
pt-bridge 0.1      the version before the session; only where it is installed
================== ===================================================================
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bench import far_end, processes
from bench.contestants import PT_BRIDGE, PT_BRIDGE_01, subfolder
from bench.goals import MUX, NO_MUX, OURS, OURS_01, PATHS, TCP
from bench.path import browser
from bench.path.namespaces import SERVER_HOST, LongPath
from bench.processes import Unavailable, find, running

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.measures import Values
    from bench.traffic import Address

ROUND_TRIP = 0.1  # seconds
LOSSES = dict(zip(PATHS, (0.0, 0.01), strict=True))  # the share of packets
FIRSTS = 12  # connections made one after the other, before the page
LIMIT = 180.0  # how long all of a browser's work may take (seconds)
MILLISECONDS = 1000
LOOPBACK = "127.0.0.1"
SECRET = ("-k", "no secret", "-m", "aes-256-gcm")
V2RAY = "ss-v2ray-plugin"
MUX_OPTIONS = {MUX: "mux=1", NO_MUX: "mux=0"}
BRIDGES = {OURS: PT_BRIDGE, OURS_01: PT_BRIDGE_01}
LISTENS = "0A"  # in /proc/net/tcp


def measure(name: str, quantity: str, folder: Path) -> Values:
    """Run one of them on a path of its own, and be a browser; return the values.

    Args:
        name: which.
        quantity: of `LOSSES`: the path.
        folder: where the processes may write.
    """
    with (
        LongPath(round_trip=ROUND_TRIP, loss=LOSSES[quantity]) as path,
        _lane(name, path, folder) as (host, port),
    ):
        command = [*path.client, sys.executable, "-I", browser.__file__]
        done = subprocess.run(
            [*command, host, str(port), str(FIRSTS)],
            stdout=subprocess.PIPE,
            check=True,
            timeout=LIMIT,
        )
    found = json.loads(done.stdout)
    firsts, objects = found["firsts"], found["objects"]
    return {
        f"{quantity}: the very first answer": [firsts[0] * MILLISECONDS],
        f"{quantity}: first answer": [statistics.median(firsts[1:]) * MILLISECONDS],
        f"{quantity}: page": [found["page"]],
        f"{quantity}: object": [statistics.median(objects) * MILLISECONDS],
    }


def is_installed(name: str) -> bool:
    """Return whether one can run: a clone may lack the version before."""
    return name != OURS_01 or os.path.exists(PT_BRIDGE_01)


@contextmanager
def _lane(name: str, path: LongPath, folder: Path) -> Iterator[tuple[str, int]]:
    """Run what is between the browser and the far end; return where to connect to."""
    with ExitStack() as stack:
        far = stack.enter_context(_far_end(name, path, folder))
        if name == TCP:
            yield SERVER_HOST, far
            return
        # Where ss-server, or its plugin, listens, and where ss-tunnel connects to.
        served = SERVER_HOST, processes.free_port()
        called = served
        ours: list[str] = []
        theirs: list[str] = []
        if name in MUX_OPTIONS:
            mux = MUX_OPTIONS[name]
            theirs = ["--plugin", V2RAY, "--plugin-opts", f"server;{mux}"]
            ours = ["--plugin", V2RAY, "--plugin-opts", mux]
        elif name in BRIDGES:
            remote = served
            served = LOOPBACK, processes.free_port()
            called = stack.enter_context(
                _bridges(BRIDGES[name], path, served, remote, folder)
            )
        command = ["ss-server", *_at(served), *SECRET, *theirs]
        stack.enter_context(_listening(path.server, command, served, folder))
        near = LOOPBACK, processes.free_port()
        command = [
            *("ss-tunnel", *_at(called), *SECRET, "-b", near[0], "-l", str(near[1])),
            *("-L", f"{LOOPBACK}:{far}", *ours),
        ]
        stack.enter_context(_listening(path.client, command, near, folder))
        yield near


def _at(address: Address) -> tuple[str, ...]:
    return "-s", address[0], "-p", str(address[1])


@contextmanager
def _far_end(name: str, path: LongPath, folder: Path) -> Iterator[int]:
    """Run the far end, on the path itself where nobody is in between; return where."""
    host = SERVER_HOST if name == TCP else LOOPBACK
    command = [*path.server, sys.executable, "-I", far_end.__file__, host]
    with running(command, subfolder(folder, "far-end"), is_heard=True) as process:
        yield int(processes.line_of(process, "LISTENING")[1].rpartition(":")[2])


@contextmanager
def _bridges(
    executable: str, path: LongPath, local: Address, remote: Address, folder: Path
) -> Iterator[Address]:
    """Run pt-bridge on both sides; return where its client listens."""
    pt = find("obfs4proxy")
    there = subfolder(folder, "pt-bridge-server")
    command = [
        *(executable, "server", "--local", f"{local[0]}:{local[1]}"),
        *("--remote", f"{remote[0]}:{remote[1]}"),
        *("--plugin-opts", "transport=obfs4", "--exec", pt),
    ]
    near = LOOPBACK, processes.free_port()
    with running([*path.server, *command], there):
        _wait_until_ready(there)
        options = next(there.rglob("client-options.txt")).read_text().strip()
        here = subfolder(folder, "pt-bridge")
        command = [
            *(executable, "client", "--local", f"{near[0]}:{near[1]}"),
            *("--remote", f"{remote[0]}:{remote[1]}"),
            *("--plugin-opts", options, "--exec", pt),
        ]
        with running([*path.client, *command], here):
            _wait_until_ready(here)
            yield near


def _wait_until_ready(folder: Path) -> None:
    log = folder / "log"
    processes.wait_until(lambda: "ready: " in log.read_text(), "pt-bridge is ready")


@contextmanager
def _listening(
    inside: Sequence[str], command: Sequence[str], address: Address, folder: Path
) -> Iterator[None]:
    """Run a program in a namespace, and wait until it, or its plugin, listens."""
    find(command[0])
    folder = subfolder(folder, command[0])
    with running([*inside, *command], folder) as process:
        table = Path(f"/proc/{process.pid}/net/tcp")  # that of its namespace

        def listens() -> bool:
            if process.poll() is not None:
                raise Unavailable(f"{command[0]}: {processes.last_line(folder)}")
            lines = [line.split() for line in table.read_text().splitlines()[1:]]
            port = f"{address[1]:04X}"
            return any(
                line[1].endswith(f":{port}") and line[3] == LISTENS for line in lines
            )

        processes.wait_until(listens, f"{command[0]} listens")
        yield
