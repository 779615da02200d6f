"""The processes that are measured: start them, stop them, and what they use."""

from __future__ import annotations

import os
import random
import select
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psutil

from tests.support import child_processes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from bench.traffic import Address

# How long anything may take to be ready, or to end when it is told to (seconds).
DEADLINE = 30.0
STOP_DEADLINE = 5.0
RETRY = 0.005
# Below those that the kernel gives to connections, so nobody takes them meanwhile.
PORTS = range(15_000, 32_000)
# Whatever ends us, SIGKILL too, ends what we have started.
WITH_US = ("setpriv", "--pdeathsig", "KILL", "--")


class Unavailable(Exception):
    """What was to be measured could not be started, or did not work."""


def find(name: str) -> str:
    """Return the path of a program."""
    path = shutil.which(name)
    if path is None:
        raise Unavailable(f"{name} is not installed: run scripts/bench")
    return path


def free_port() -> int:
    """Return a port of 127.0.0.1 that nothing listens on."""
    for port in random.SystemRandom().sample(PORTS, 200):
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise Unavailable("no port is free")


def variables(folder: Path, **more: str) -> dict[str, str]:
    """Return an environment in which everything that is written stays in a folder."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "XDG_STATE_HOME": str(folder / "state"),
        **more,
    }


@contextmanager
def running(
    arguments: Sequence[str],
    folder: Path,
    more: Mapping[str, str] | None = None,
    *,
    is_heard: bool = False,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program for as long as the block lasts.

    Args:
        arguments: the program, and its arguments.
        folder: its working directory; its output is in `log` there.
        more: variables of its environment.
        is_heard: whether its stdout is a pipe to us, and its stdin one from us.
    """
    pipe = subprocess.PIPE if is_heard else None
    with open(folder / "log", "ab") as log:
        process = subprocess.Popen(
            [*WITH_US, *arguments],
            stdin=pipe or subprocess.DEVNULL,
            stdout=pipe or log,
            stderr=log,
            cwd=folder,
            env=variables(folder, **(more or {})),
        )
    try:
        yield process
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process: ask it, wait, kill it."""
    process.terminate()
    try:
        process.wait(STOP_DEADLINE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()


def line_of(process: subprocess.Popen[bytes], word: str) -> list[str]:
    """Wait for a line that begins with a word; return its words."""
    assert process.stdout is not None  # it is heard
    until = time.monotonic() + DEADLINE
    heard = b""
    descriptor = process.stdout.fileno()
    while (left := until - time.monotonic()) > 0:
        *lines, _ = heard.split(b"\n")
        for line in lines:
            words = line.decode("utf-8", "replace").split()
            if words and words[0] == word:
                return words
        if not select.select([descriptor], [], [], left)[0]:
            break
        more = os.read(descriptor, 4096)
        if not more:
            break
        heard += more
    raise Unavailable(f"{process.args!r} did not say {word}")


def wait_for_port(
    process: subprocess.Popen[bytes], address: Address, folder: Path
) -> None:
    """Wait until a process accepts connections."""

    def accepts() -> bool:
        if process.poll() is not None:
            raise Unavailable(f"{process.args!r} ended: {last_line(folder)}")
        with socket.socket() as sock:
            return sock.connect_ex(address) == 0

    wait_until(accepts, f"{process.args!r} accepts connections")


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Wait for what nobody tells of."""
    until = time.monotonic() + DEADLINE
    while not condition():
        if time.monotonic() > until:
            raise Unavailable(f"waited in vain: {what}")
        time.sleep(RETRY)


def last_line(folder: Path) -> str:
    """Return the last line that a process has written."""
    lines = (folder / "log").read_text(errors="replace").splitlines()
    return lines[-1] if lines else "it said nothing"


def cpu_seconds(pids: Sequence[int]) -> float:
    """Return the time on a CPU that processes have had so far, all their threads'."""
    # clock_getcpuclockid(3): exact to the nanosecond, where /proc counts in ticks.
    return sum(time.clock_gettime((~pid << 3) | 2) for pid in pids)


@contextmanager
def on_cores(cores: set[int]) -> Iterator[None]:
    """Run on these cores alone, with all that is started meanwhile."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def children(pid: int) -> list[int]:
    """Return the processes that a process has started."""
    return [child.pid for child in child_processes.children(pid)]


def own_memory(pid: int) -> int:
    """Return the bytes of memory that would be free if a process ended (USS)."""
    return int(psutil.Process(pid).memory_full_info().uss)


def descriptors(pid: int) -> int:
    """Return how many descriptors a process has open."""
    return psutil.Process(pid).num_fds()


def listening_port(pid: int) -> int:
    """Return the one port that a process listens on."""
    for connection in psutil.Process(pid).net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr:
            return int(connection.laddr.port)
    raise Unavailable(f"process {pid} listens on no port")
