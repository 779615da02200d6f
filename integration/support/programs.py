"""Real programs, run as children: what they say, how they end, what they leave."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from typing import IO, TYPE_CHECKING

import psutil
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

# Generous: the machines are noisy, and nothing waits for as long as this.
DEADLINE = 120.0
# How long a stop may take; pt-bridge itself is done within 1.5 s (LC-09).
STOP_DEADLINE = 60.0
RETRY = 0.02  # seconds between two looks at what nobody tells of

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LYREBIRD_FOLDER = os.path.join(ROOT, ".lyrebird/usr/bin")
VENV_FOLDER = os.path.dirname(sys.executable)
USUAL_FOLDERS = ("/usr/local/bin", "/usr/bin", "/bin")
# Every process of a test has this variable, so whatever is left can be found: pt-bridge
# gives LC_* to its PT, and the C library takes it from no program (as it does TMPDIR
# from those with file capabilities, which Debian's ss-local and ss-server have).
MARK = "LC_TEST_OF_PT_BRIDGE"


def find(name: str, *, path: str | None = None) -> str:
    """Return the path of a program that the tests need; fail where it is missing."""
    found = shutil.which(name, path=path or os.pathsep.join(path_folders()))
    if found is None:
        pytest.fail(f"{name} is missing: run scripts/integration-programs")
    return found


def path_folders() -> list[str]:
    """Return the folders of PATH for what is run: pt-bridge's, and the system's."""
    return [VENV_FOLDER, *USUAL_FOLDERS]


class Program:
    """A program that runs; it is heard out until it closes its stdout and stderr.

    Attributes:
        pid: its process id.
        output: what it wrote, both streams, in lines.
    """

    def __init__(
        self, arguments: Sequence[str], variables: Mapping[str, str], folder: Path
    ) -> None:
        """Start it in a session of its own, with an empty stdin.

        Args:
            arguments: the program's path, and its arguments.
            variables: its whole environment.
            folder: its working directory.
        """
        self.name = os.path.basename(arguments[0])
        self.output: list[str] = []
        self._stdout = b""
        self._news = threading.Condition()
        self._process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(variables),
            cwd=folder,
            start_new_session=True,
        )
        self.pid = self._process.pid
        self._pidfd = os.pidfd_open(self.pid)
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._readers = [
            threading.Thread(target=self._hear, args=(stream, is_stdout), daemon=True)
            for stream, is_stdout in (
                (self._process.stdout, True),
                (self._process.stderr, False),
            )
        ]
        self._listening = len(self._readers)
        for reader in self._readers:
            reader.start()

    def _hear(self, stream: IO[bytes], is_stdout: bool) -> None:  # noqa: FBT001
        for line in stream:
            with self._news:
                if is_stdout:
                    self._stdout += line
                self.output.append(line.decode("utf-8", "backslashreplace").rstrip())
                self._news.notify_all()
        with self._news:
            self._listening -= 1
            self._news.notify_all()

    @property
    def stdout(self) -> bytes:
        """What it wrote to stdout."""
        return self._stdout

    @property
    def text(self) -> str:
        """What it wrote, as one text."""
        return "\n".join(self.output)

    @property
    def runs(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def wait_for(self, words: str, *, after: int = 0) -> str:
        """Wait until it writes a line with these words; return the line.

        Args:
            words: a part of the line.
            after: how many lines of its output not to look at.
        """

        def find_line() -> str | None:
            return next((line for line in self.output[after:] if words in line), None)

        with self._news:
            self._news.wait_for(
                lambda: find_line() is not None or not self._listening, DEADLINE
            )
        line = find_line()
        assert line is not None, f"{self.name} did not write {words!r}:\n{self.text}"
        return line

    def wait(self) -> int:
        """Wait until it has ended and all that it wrote was heard; return its code."""
        assert exited(self._pidfd, DEADLINE), f"{self.name} still runs:\n{self.text}"
        code = self._process.wait()
        for reader in self._readers:
            reader.join(DEADLINE)
        return code

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended."""
        self._process.send_signal(number)

    def stop(self) -> int:
        """Ask it to end (SIGTERM), and wait until it has; return its code."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def last_of_pt_bridge(self) -> str:
        """Return the last line that is pt-bridge's own."""
        lines = [line for line in self.output if line.startswith("pt-bridge")]
        assert lines, f"pt-bridge said nothing:\n{self.text}"
        return lines[-1]

    def close(self) -> None:
        """Close it, once every process that could write is gone."""
        self._process.wait(DEADLINE)
        for reader in self._readers:
            reader.join(DEADLINE)
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()
        os.close(self._pidfd)


def exited(pidfd: int, deadline: float) -> bool:
    """Wait until a process has ended; return whether it has."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(deadline * 1000))


def wait_until(
    condition: Callable[[], bool],
    what: str,
    *,
    within: float = DEADLINE,
    retry: float = RETRY,
) -> None:
    """Wait for what nobody tells of, within so many seconds; look so often."""
    until = time.monotonic() + within
    while not condition():
        assert time.monotonic() < until, f"waited in vain: {what}"
        select.select([], [], [], retry)


def end_pt(pt: psutil.Process) -> None:
    """End a PT by SIGTERM: obfs4proxy misses one that comes before it waits for any."""

    def is_gone() -> bool:
        with contextlib.suppress(psutil.NoSuchProcess):
            pt.terminate()
            return pt.status() == psutil.STATUS_ZOMBIE
        return True

    wait_until(is_gone, "the PT ends")


def marked(mark: str) -> list[psutil.Process]:
    """Return every process that was started with this mark, however deep below us."""
    variable = f"{MARK}={mark}".encode()
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError, psutil.Error):
            with open(f"/proc/{name}/environ", "rb") as file:
                is_marked = variable in file.read().split(b"\0")
            if is_marked:
                found.append(psutil.Process(int(name)))
    return found


def wait_until_gone(mark: str, deadline: float = STOP_DEADLINE) -> None:
    """Wait until no process with this mark is left; fail where one is."""
    until = time.monotonic() + deadline
    while left := marked(mark):
        for process in left:
            with _pidfd(process.pid) as pidfd:
                assert pidfd is None or exited(
                    pidfd, max(0.0, until - time.monotonic())
                ), f"left behind: {[_describe(each) for each in left]}"


def kill_marked(mark: str) -> list[str]:
    """Kill what is left with this mark; return what it was."""
    killed = []
    for process in marked(mark):
        with contextlib.suppress(psutil.Error):
            killed.append(_describe(process))
            process.kill()
    return killed


def _describe(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return f"{process.pid} {' '.join(process.cmdline())}"
    return f"{process.pid} (ending)"


@contextlib.contextmanager
def _pidfd(pid: int) -> Iterator[int | None]:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)
