"""Another program that we run for a moment: what it prints, and its end.

It gets a process group of its own. Leaving the block ends it, and all that it has
started and that has not left its group.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections import deque
from typing import TYPE_CHECKING

from pt_bridge import kernel
from pt_bridge.protocol.messages import LineBuffer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

READ_SIZE = 64 * 1024
LINES_KEPT = 50
# How long it may take to end once it was told to, before it is killed (seconds).
GRACE = 1.0
# How long a killed one may take to be gone.
KILL_LIMIT = 0.5


class Command:
    """One program that runs.

    Attributes:
        lines: what it printed last, on stdout and stderr.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        environment: Mapping[bytes, bytes],
        *,
        folder: str = "/",
    ) -> None:
        """Prepare it; entering the block starts it.

        Args:
            arguments: its absolute path, and its arguments.
            environment: all that it gets for an environment.
            folder: its working directory.
        """
        self.lines: deque[str] = deque(maxlen=LINES_KEPT)
        self._arguments = arguments
        self._environment = environment
        self._folder = folder
        self._loop = asyncio.get_running_loop()
        self._buffer = LineBuffer()
        self._news = asyncio.Event()
        self._is_over = asyncio.Event()

    async def __aenter__(self) -> Command:
        """Start it.

        Raises:
            OSError: the system does not start it.
        """
        self._process = subprocess.Popen(  # noqa: ASYNC220
            self._arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self._environment,
            cwd=self._folder,
            umask=0o077,
            process_group=0,
            preexec_fn=kernel.before_exec(),  # noqa: PLW1509
        )
        assert self._process.stdout is not None  # as asked for
        self._pipe = self._process.stdout.fileno()
        os.set_blocking(self._pipe, False)
        self._loop.add_reader(self._pipe, self._read)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End it: ask, wait, kill, reap."""
        try:
            self._signal(signal.SIGTERM)
            await self._has_ended(GRACE)
            self._signal(signal.SIGKILL)
            await self._has_ended(KILL_LIMIT)
        finally:
            self._signal(signal.SIGKILL)
            self._loop.remove_reader(self._pipe)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(KILL_LIMIT)
            assert self._process.stdout is not None
            self._process.stdout.close()

    async def said(self, is_wanted: Callable[[str], bool]) -> bool:
        """Wait until it prints a line that is wanted; False where it prints no more."""
        while not any(map(is_wanted, self.lines)):
            if self._is_over.is_set():
                return False
            self._news.clear()
            await self._news.wait()
        return True

    async def ended(self) -> None:
        """Wait until nobody is left who could print something."""
        await self._is_over.wait()

    async def _has_ended(self, limit: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit):
                await self._is_over.wait()

    def _signal(self, number: signal.Signals) -> None:
        # It is reaped last of all, so the group's number is still its own.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def _read(self) -> None:
        try:
            data = os.read(self._pipe, READ_SIZE)
        except BlockingIOError:
            return
        # Behind its last word there need not be an LF.
        for line in self._buffer.receive_data(data or b"\n"):
            text = line.decode("utf-8", "backslashreplace").strip()
            if text:
                self.lines.append(text)
        if not data:
            self._loop.remove_reader(self._pipe)
            self._is_over.set()
        self._news.set()
