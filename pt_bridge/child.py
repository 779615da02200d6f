"""The PT process: spawn it, hear it out, stop it.

A PT lives in an ``async with`` block; leaving the block stops it, with its whole
process group. If we are killed instead, the kernel kills it, and its stdin closes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
from collections import deque
from typing import TYPE_CHECKING

from pt_bridge import kernel, program
from pt_bridge.errors import Died, Late, Misspoke, ProtocolError, TransportError
from pt_bridge.log import SEVERITIES, logger
from pt_bridge.protocol.launch import Launch, State
from pt_bridge.protocol.messages import LineBuffer, Log, Unknown, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

# How long a PT may take to end once it was told to, before it is killed (seconds).
GRACE = 1.0
# How long a killed one may take to be gone; only a kernel in trouble needs it all.
KILL_LIMIT = 0.4
READ_SIZE = 64 * 1024
# How its words are logged: its name, and what it said.
WORDS = "%s: %s"
# What is read of what is still in the pipes of a PT that has ended; a pipe holds no
# more by default.
MAX_LAST_WORDS = 64 * 1024
STDERR_LINES_KEPT = 20
# How long a PT that closed its stdout may take to tell how it ended (seconds).
SILENCE = 0.5
POLL_INTERVAL = 0.05  # seconds, where the system has no pidfds


class Child:
    """One PT process.

    Attributes:
        launch: what it has said so far of its start.
        pid: its process id.
    """

    def __init__(
        self,
        path: str,
        environment: Mapping[bytes, bytes],
        launch: Launch,
        learn: Callable[[Launch], None] | None = None,
        *,
        arguments: Sequence[str] = (),
        descriptors: Sequence[int] = (),
    ) -> None:
        """Prepare a PT; entering the block starts it.

        Args:
            path: the executable's absolute path.
            environment: all that it gets for an environment.
            launch: takes what it says; not used before.
            learn: called after everything that `launch` took, and before the next line
                is logged.
            arguments: what it gets on its command line, where all users can read it.
            descriptors: what it inherits besides its three pipes, under its own number.
        """
        self.launch = launch
        self.pid = 0
        self._path = path
        self._arguments = tuple(arguments)
        self._learn = learn
        self._descriptors = tuple(descriptors)
        self._stat: int | None = None
        self._told_to_end = False
        self._silence: asyncio.TimerHandle | None = None
        self._environment = environment
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._exited: asyncio.Future[None] = self._loop.create_future()
        self._stderr: deque[str] = deque(maxlen=STDERR_LINES_KEPT)
        self._stderr_lines = LineBuffer()
        self._stdout_lines = LineBuffer()
        self._first_words = ""

    async def __aenter__(self) -> Child:
        """Start the PT.

        Raises:
            ProgramError: the system does not start it.
        """
        prepare = kernel.before_exec()
        try:
            self._process = subprocess.Popen(  # noqa: ASYNC220
                [self._path, *self._arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=self._environment,
                cwd="/",
                umask=0o077,
                process_group=0,
                pass_fds=self._descriptors,
                preexec_fn=prepare,  # noqa: PLW1509
            )
        except OSError as error:
            raise program.explain(self._path, error) from None
        self.pid = self._process.pid
        # Now, for when it is needed there may be no descriptor left.
        self._stat = kernel.open_stat(self.pid)
        self._watch()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the PT: ask, wait, kill; then its process group, then reap it."""
        self.end()
        try:
            if not await self._has_exited(GRACE):
                logger.debug("x the PT did not end in time, and is killed")
                self.kill()
                await self._has_exited(KILL_LIMIT)
        finally:
            self._clean_up()

    def _clean_up(self) -> None:
        """Leave nothing behind; where we are in a hurry, no PT that still ends."""
        self.kill()  # and whatever it forked
        self._unwatch()
        if self._stat is not None:
            os.close(self._stat)
            self._stat = None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(KILL_LIMIT)
        for future in (self._ready, self._exited):
            if not future.cancel() and not future.cancelled():
                future.exception()  # seen

    async def ready(self, limit: float) -> None:
        """Wait until the PT is ready.

        Args:
            limit: how long that may take, in seconds.

        Raises:
            TransportError: it cannot be used, ended, or took too long.
        """
        try:
            async with asyncio.timeout(limit):
                await asyncio.shield(self._ready)
        except TimeoutError:
            said = f"; it said: {self._first_words}" if self._first_words else ""
            raise Late(
                f"{self.launch.program} was not ready within {limit:g} seconds{said} "
                f"(start-timeout= sets the limit)",
                self._last_words(),
            ) from None

    async def exited(self) -> Died:
        """Wait until the PT ends; give the error for it."""
        await asyncio.shield(self._exited)
        words = self._last_words()
        wrote = f"; it wrote: {words}" if words else ""
        return Died(f"{self.launch.program} {self._how_it_ended()}{wrote}", words)

    def is_ending(self) -> bool:
        """Tell whether the PT has begun to exit, even where we were not told yet."""
        return self._exited.done() or kernel.is_ending(self._stat)

    def end(self) -> None:
        """Tell the PT to end, in both ways that there are (pt-spec 3.4); at once."""
        if self._told_to_end:
            return
        self._told_to_end = True
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the PT and what it forked; at once."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        # It is reaped last of all, so the group's number is still its own.
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)

    async def _has_exited(self, limit: float) -> bool:
        try:
            async with asyncio.timeout(limit):
                await asyncio.shield(self._exited)
        except TimeoutError:
            return False
        return True

    def _watch(self) -> None:
        self._pipes = {
            pipe.fileno(): hear
            for pipe, hear in (
                (self._process.stdout, self._hear_stdout),
                (self._process.stderr, self._hear_stderr),
            )
            if pipe is not None
        }
        for descriptor, hear in self._pipes.items():
            os.set_blocking(descriptor, False)
            self._loop.add_reader(descriptor, self._read, descriptor, hear)
        self._stop_watching = kernel.watch_process(
            self._loop,
            self.pid,
            self._on_exit,
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
        if self._silence is not None:
            self._silence.cancel()

    def _read(self, descriptor: int, hear: Callable[[bytes], None]) -> int:
        """Read what a pipe holds; give the number of bytes, 0 for none or the end."""
        try:
            data = os.read(descriptor, READ_SIZE)
        except BlockingIOError:
            return 0
        except OSError:
            data = b""
        if data:
            hear(data)
        else:
            self._loop.remove_reader(descriptor)
            if hear == self._hear_stdout and not self._ready.done():
                # It can say nothing more; most likely it is about to end.
                self._silence = self._loop.call_later(SILENCE, self._fell_silent)
        return len(data)

    def _fell_silent(self) -> None:
        self._fail(
            Misspoke(f"{self.launch.program} closed its stdout before it was ready")
        )

    def _hear_stdout(self, data: bytes) -> None:
        before = self._stdout_lines.dropped
        for line in self._stdout_lines.receive_data(data):
            try:
                self._hear_line(line)
            except TransportError as error:
                self._fail(error)
        if self._stdout_lines.dropped > before == 0:
            logger.warning("%s printed a line that is too long", self.launch.program)

    def _hear_line(self, line: bytes) -> None:
        try:
            message = parse(line)
        except ProtocolError as error:
            if self.launch.state is not State.READY:
                raise Misspoke(f"{self.launch.program} printed {error}") from error
            logger.debug("! the PT printed %s", error)
            return
        match message:
            case Log() if self._told_to_end:
                pass  # nobody waits for its last thousand lines
            case Log(severity, text):
                logger.log(SEVERITIES[severity], WORDS, self.launch.program, text)
            case Unknown(text):
                if text and not self._first_words:
                    self._first_words = text
                logger.debug("< %s", text)
            case _:
                # Its keyword only: what stands behind may be a server's secrets.
                logger.debug("< %s", line.split(maxsplit=1)[0].decode("ascii"))
                remark = self.launch.receive(message)
                if self._learn is not None:
                    self._learn(self.launch)
                if remark:
                    logger.debug("! the PT printed %s", remark)
                if self.launch.state is State.READY and not self._ready.done():
                    self._ready.set_result(None)

    def _hear_stderr(self, data: bytes) -> None:
        for line in self._stderr_lines.receive_data(data):
            text = line.decode("utf-8", "backslashreplace").strip()
            if text:
                self._stderr.append(text)
                # Once it is ready, some write a line for each connection.
                is_ready = self.launch.state is State.READY
                level = logging.DEBUG if is_ready else logging.INFO
                logger.log(level, WORDS, self.launch.program, text)

    def _last_words(self) -> str:
        return self._stderr[-1] if self._stderr else ""

    def _on_exit(self) -> None:
        left = MAX_LAST_WORDS
        for descriptor, hear in self._pipes.items():
            while left > 0 and (size := self._read(descriptor, hear)):
                left -= size
        self._exited.set_result(None)
        self._fail(self.launch.ended(self._how_it_ended(), self._last_words()))

    def _fail(self, error: TransportError) -> None:
        if not self._ready.done():
            self._ready.set_exception(error)

    def _how_it_ended(self) -> str:
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
        """Ask how the PT ended, without reaping it; None while it runs."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
