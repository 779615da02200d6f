"""A program that we run: how it is started, heard and ended.

It gets a process group of its own, and if we are killed, the kernel kills it. Leaving
its block ends it: it is asked (SIGTERM, and the end of its stdin), waited for, and then
killed, with all that it has started and that has not left its group. It is reaped last
of all, so that the group's number is its own until then.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections import deque
from typing import TYPE_CHECKING, ClassVar

from pt_bridge.protocol.pt_messages import LineBuffer
from pt_bridge.system import linux
from pt_bridge.system.log import logger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Self

READ_SIZE = 64 * 1024
# What is read of what is still in the pipes of a process that has ended; a pipe holds
# no more by default.
MAX_LAST_WORDS = 64 * 1024
LINES_KEPT = 50
# How long it may take to end once it was told to, before it is killed (seconds).
GRACE = 1.0
# How long a killed one may take to be gone; only a kernel in trouble needs it all.
KILL_LIMIT = 0.4
POLL_INTERVAL = 0.05  # seconds, where a sandbox forbids pidfds


class ChildProcess:
    """One process of ours; a subclass hears what it writes.

    Attributes:
        pid: its process id.
    """

    # Where its stderr goes; with STDOUT, the order of its lines is kept.
    STDERR: ClassVar[int] = subprocess.PIPE

    def __init__(
        self,
        arguments: Sequence[str],
        environment: Mapping[bytes, bytes],
        *,
        folder: str = "/",
        descriptors: Sequence[int] = (),
    ) -> None:
        """Prepare it; entering the block starts it.

        Args:
            arguments: its absolute path, and its arguments, which all users can read.
            environment: all that it gets for an environment.
            folder: its working directory.
            descriptors: what it inherits besides its three pipes, under its own number.
        """
        self.pid = 0
        self._arguments = arguments
        self._environment = environment
        self._folder = folder
        self._descriptors = tuple(descriptors)
        self._loop = asyncio.get_running_loop()
        self._exited: asyncio.Future[None] = self._loop.create_future()
        self._stat: int | None = None
        self._is_terminating = False

    async def __aenter__(self) -> Self:
        """Start it.

        Raises:
            OSError: the system does not start it.
        """
        self._process = subprocess.Popen(  # noqa: ASYNC220
            self._arguments,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.STDERR,
            env=self._environment,
            cwd=self._folder,
            umask=0o077,
            process_group=0,
            pass_fds=self._descriptors,
            preexec_fn=linux.before_exec(),  # noqa: PLW1509
        )
        self.pid = self._process.pid
        # Now, for when it is needed there may be no descriptor left.
        self._stat = linux.open_stat(self.pid)
        self._watch()
        return self

    async def __aexit__(self, *_: object) -> None:
        """End it: ask, wait, kill; then its process group, then reap it."""
        self.terminate()
        try:
            if not await self._has_ended(GRACE):
                name = os.path.basename(self._arguments[0])
                logger.debug("x %s did not end in time, and is killed", name)
                self.kill()
                await self._has_ended(KILL_LIMIT)
        finally:
            self._clean_up()

    def _clean_up(self) -> None:
        """Leave nothing behind; where we are in a hurry, nothing that still ends."""
        self.kill()  # and whatever it forked
        self._unwatch()
        if self._stat is not None:
            os.close(self._stat)
            self._stat = None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(KILL_LIMIT)
        self._exited.cancel()

    async def ended(self) -> None:
        """Wait until it has ended."""
        await asyncio.shield(self._exited)

    def is_ending(self) -> bool:
        """Whether it has begun to exit, even where we were not told yet."""
        return self._exited.done() or linux.is_ending(self._stat)

    def terminate(self) -> None:
        """Ask it to end, by SIGTERM and by the end of its stdin; at once."""
        if self._is_terminating:
            return
        self._is_terminating = True
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        self._signal(signal.SIGTERM)

    def interrupt(self) -> None:
        """Send it SIGINT; at once."""
        self._signal(signal.SIGINT)

    def kill(self) -> None:
        """Kill it, and what it forked; at once."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)

    async def _has_ended(self, limit: float) -> bool:
        # No timeout(): in a task that is cancelled it does not end as such a one before
        # Python 3.11.3, and Debian 12 has 3.11.2.
        await asyncio.wait([self._exited], timeout=limit)
        return self._exited.done()

    # -- what it writes ----------------------------------------------------------------

    def _on_stdout(self, data: bytes) -> None:
        """Take what it has written to stdout; b"", once, for its end."""

    def _on_stderr(self, data: bytes) -> None:
        """Take what it has written to stderr, likewise."""

    def _on_exited(self) -> None:
        """Take note that it has ended; all that it wrote was taken before."""

    def _watch(self) -> None:
        self._pipes = {
            pipe.fileno(): on_data
            for pipe, on_data in (
                (self._process.stdout, self._on_stdout),
                (self._process.stderr, self._on_stderr),
            )
            if pipe is not None
        }
        for descriptor, on_data in self._pipes.items():
            os.set_blocking(descriptor, False)
            self._loop.add_reader(descriptor, self._read, descriptor, on_data)
        self._stop_watching = linux.watch_process(
            self._loop,
            self.pid,
            self._exits,
            has_ended=lambda: self._exit_status() is not None,
            interval=POLL_INTERVAL,
        )

    def _unwatch(self) -> None:
        for descriptor in self._pipes:
            self._loop.remove_reader(descriptor)
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()
        self._stop_watching()

    def _read(self, descriptor: int, on_data: Callable[[bytes], None]) -> int:
        """Read what a pipe holds; return the number of bytes, 0 for none or the end."""
        try:
            data = os.read(descriptor, READ_SIZE)
        except BlockingIOError:
            return 0
        except OSError:
            data = b""
        # Nobody hears of the end twice, where its last words are read.
        if data or self._loop.remove_reader(descriptor):
            on_data(data)
        return len(data)

    def _exits(self) -> None:
        left = MAX_LAST_WORDS
        for descriptor, on_data in self._pipes.items():
            while left > 0 and (size := self._read(descriptor, on_data)):
                left -= size
        self._exited.set_result(None)
        self._on_exited()

    # -- how it ended ------------------------------------------------------------------

    def how_it_ended(self) -> str:
        """Return how it ended, as it follows its name."""
        status = self._exit_status()
        if status is None:
            return "ended"
        if status.si_code == os.CLD_EXITED:
            return f"ended with exit code {status.si_status}"
        try:
            name = signal.Signals(status.si_status).name
        except ValueError:  # a real-time signal; it has only a number
            name = f"signal {status.si_status}"
        return f"was killed by {name}"

    def _exit_status(self) -> os.waitid_result | None:
        """Return how it ended, without reaping it; None while it runs."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)


class Command(ChildProcess):
    """A program that is run for a moment, for what it prints.

    Attributes:
        lines: what it printed last, on stdout and stderr.
    """

    STDERR = subprocess.STDOUT

    def __init__(
        self,
        arguments: Sequence[str],
        environment: Mapping[bytes, bytes],
        *,
        folder: str = "/",
    ) -> None:
        """Prepare it, as with `ChildProcess`."""
        super().__init__(arguments, environment, folder=folder)
        self.lines: deque[str] = deque(maxlen=LINES_KEPT)
        self._buffer = LineBuffer()
        self._news = asyncio.Event()
        self._is_silent = asyncio.Event()

    async def ended(self) -> None:
        """Wait until nobody is left who could print something."""
        await super().ended()
        await self._is_silent.wait()

    async def said(self, is_wanted: Callable[[str], bool]) -> bool:
        """Wait until it prints a line that is wanted; False where it prints no more."""
        while not any(map(is_wanted, self.lines)):
            if self._is_silent.is_set():
                return False
            self._news.clear()
            await self._news.wait()
        return True

    def _on_stdout(self, data: bytes) -> None:
        # Behind its last word there need not be an LF.
        for line in self._buffer.receive_data(data or b"\n"):
            text = line.decode("utf-8", "backslashreplace").strip()
            if text:
                self.lines.append(text)
        if not data:
            self._is_silent.set()
        self._news.set()
