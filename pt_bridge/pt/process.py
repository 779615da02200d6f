"""The PT process: start it, read what it writes, stop it.

A PT lives in an ``async with`` block; leaving the block stops it, with its whole
process group. If we are killed instead, the kernel kills it, and its stdin closes.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from pt_bridge.errors import (
    ProtocolError,
    PtExited,
    PtProtocolViolation,
    PtStartTimeout,
    TransportError,
)
from pt_bridge.files import executable
from pt_bridge.protocol.pt_launch import Launch, State
from pt_bridge.protocol.pt_messages import LineBuffer, Log, Unknown, parse
from pt_bridge.system.child_process import ChildProcess
from pt_bridge.system.log import SEVERITIES, logger
from pt_bridge.system.program_output import LastWords, ProgramLog

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Self

# How long a PT that closed its stdout may take to tell how it ended (seconds).
SILENCE = 0.5


class PtProcess(ChildProcess):
    """One PT process.

    Attributes:
        launch: what it has said so far of its start.
    """

    def __init__(
        self,
        path: str,
        environment: Mapping[bytes, bytes],
        launch: Launch,
        on_launch_message: Callable[[Launch], None] | None = None,
        *,
        arguments: Sequence[str] = (),
        descriptors: Sequence[int] = (),
    ) -> None:
        """Prepare a PT; entering the block starts it.

        Args:
            path: the executable's absolute path.
            environment: all that it gets for an environment.
            launch: takes what it says; not used before.
            on_launch_message: called after everything that `launch` took, and before
                the next line is logged.
            arguments: what it gets on its command line, where all users can read it.
            descriptors: what it inherits besides its three pipes, under its own number.
        """
        super().__init__([path, *arguments], environment, descriptors=descriptors)
        self.launch = launch
        self._path = path
        self._on_launch_message = on_launch_message
        self._silence: asyncio.TimerHandle | None = None
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._stderr = LastWords()
        self._log = ProgramLog(launch.program, self._loop.time)
        self._stderr_lines = LineBuffer()
        self._stdout_lines = LineBuffer()
        self._first_words = ""

    async def __aenter__(self) -> Self:
        """Start the PT.

        Raises:
            ProgramError: the system does not start it.
        """
        try:
            return await super().__aenter__()
        except OSError as error:
            raise executable.explain(self._path, error) from None

    async def __aexit__(self, *raised: object) -> None:
        """End the PT."""
        try:
            await super().__aexit__(*raised)
        finally:
            if self._silence is not None:
                self._silence.cancel()
            if not self._ready.cancel() and not self._ready.cancelled():
                self._ready.exception()  # seen

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
            raise PtStartTimeout(
                f"{self.launch.program} was not ready within {limit:g} seconds{said} "
                f"(start-timeout= sets the limit)",
                self._last_words(),
            ) from None

    async def wait(self) -> PtExited:
        """Wait until the PT ends; return the error for it."""
        await self.ended()
        words = self._last_words()
        wrote = f"; it wrote: {words}" if words else ""
        return PtExited(f"{self.launch.program} {self.how_it_ended()}{wrote}", words)

    def take_news(self) -> str:
        """Return the last line that it has logged since this was asked, or ""."""
        return self._log.take_news()

    def _fell_silent(self) -> None:
        self._fail(
            PtProtocolViolation(
                f"{self.launch.program} closed its stdout before it was ready"
            )
        )

    def _on_stdout(self, data: bytes) -> None:
        if not data:
            if not self._ready.done():
                # It can say nothing more; most likely it is about to end.
                self._silence = self._loop.call_later(SILENCE, self._fell_silent)
            return
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
                raise PtProtocolViolation(
                    f"{self.launch.program} printed {error}"
                ) from error
            logger.debug("! the PT printed %s", error)
            return
        match message:
            case Log() if self._is_terminating:
                pass  # nobody waits for its last thousand lines
            case Log(severity, text):
                self._log.write(SEVERITIES[severity], text)
            case Unknown(text):
                if text and not self._first_words:
                    self._first_words = text
                logger.debug("< %s", text)
            case _:
                # Its keyword only: what stands behind may be a server's secrets.
                logger.debug("< %s", line.split(maxsplit=1)[0].decode("ascii"))
                remark = self.launch.receive(message)
                if self._on_launch_message is not None:
                    self._on_launch_message(self.launch)
                if remark:
                    logger.debug("! the PT printed %s", remark)
                if self.launch.state is State.READY and not self._ready.done():
                    self._ready.set_result(None)

    def _on_stderr(self, data: bytes) -> None:
        for line in self._stderr_lines.receive_data(data):
            text = line.decode("utf-8", "backslashreplace").strip()
            if text:
                self._stderr.receive(text)
                # Once it is ready, some write a line for each connection.
                is_ready = self.launch.state is State.READY
                self._log.write(logging.DEBUG if is_ready else logging.INFO, text)

    def _last_words(self) -> str:
        return self._stderr.text

    def _on_exited(self) -> None:
        self._fail(self.launch.ended(self.how_it_ended(), self._last_words()))

    def _fail(self, error: TransportError) -> None:
        if not self._ready.done():
            self._ready.set_exception(error)
