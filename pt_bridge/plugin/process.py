"""The process of another plugin: what it writes is in our log.

It lives in an ``async with`` block, and ends with it; if we are killed, the kernel
kills it, or a guard where the kernel does not (`pt_bridge.plugin.guard`).
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
from typing import TYPE_CHECKING

from pt_bridge.files import executable
from pt_bridge.files.state_dir import CLIENT_OPTIONS
from pt_bridge.plugin import guard
from pt_bridge.plugin.guard import Guard
from pt_bridge.protocol.pt_messages import LineBuffer
from pt_bridge.system.child_process import ChildProcess
from pt_bridge.system.log import logger
from pt_bridge.system.program_output import LastWords, ProgramLog

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from pt_bridge.files.program import FoundProgram

# What a pt-bridge says once its PT is ready, too.
READY = re.compile(r"^\S+: ready: ")
# What they write of trouble, each in its own way. All else, once they listen, is a line
# for each connection.
SERIOUS = re.compile(r"\b(?:error|fail(?:ed|ure)?|fatal|panic|warn(?:ing)?)\b", re.I)


class PluginProcess(ChildProcess):
    """One process of another plugin.

    Attributes:
        has_said_ready: whether it has said, as a pt-bridge does, that it is ready.
    """

    has_said_ready = False

    def __init__(
        self, name: str, program: FoundProgram, variables: Mapping[bytes, bytes]
    ) -> None:
        """Prepare it; entering the block starts it.

        Args:
            name: what `via=` calls it.
            program: what was found under this name.
            variables: SS_*, as SIP003 has them.
        """
        super().__init__(
            [program.path, *program.arguments], {**program.inherited, **variables}
        )
        self._path = program.path
        self._log = ProgramLog(name, self._loop.time)
        self._words = LastWords()
        self._lines = (LineBuffer(), LineBuffer())
        self._listens = False
        self._stack = contextlib.ExitStack()
        self._was_serious = False

    async def __aenter__(self) -> Self:
        """Start it.

        Raises:
            ProgramError: the system does not start it.
        """
        try:
            await super().__aenter__()
        except OSError as error:
            raise executable.explain(self._path, error) from None
        if guard.is_needed(self._path):
            try:
                self._stack.enter_context(Guard(self.pid))
            except OSError as error:
                logger.warning(
                    "%s goes on for a while if pt-bridge is killed: %s",
                    os.path.basename(self._path),
                    error.strerror,
                )
        return self

    def _clean_up(self) -> None:
        self.kill()
        self._stack.close()  # before its number may be another's
        super()._clean_up()

    @property
    def last_words(self) -> str:
        """The line that tells why it ended, or ""."""
        return self._words.text

    def listens(self) -> None:
        """Learn that it does what it is there for."""
        self._listens = True

    def take_news(self) -> str:
        """Return the last line that it has written since this was asked, or ""."""
        return self._log.take_news()

    def _on_stdout(self, data: bytes) -> None:
        self._hear(self._lines[0], data)

    def _on_stderr(self, data: bytes) -> None:
        self._hear(self._lines[1], data)

    def _hear(self, buffer: LineBuffer, data: bytes) -> None:
        # Behind its last word there need not be an LF.
        for line in buffer.receive_data(data or b"\n"):
            text = line.decode("utf-8", "backslashreplace").strip()
            if text and not self._is_terminating:
                self._take(text)

    def _take(self, text: str) -> None:
        self.has_said_ready = self.has_said_ready or READY.match(text) is not None
        is_serious = SERIOUS.search(text) is not None
        # The first of several says what is wrong, the others that it is.
        if not (is_serious and self._was_serious):
            self._words.receive(text)
        self._was_serious = is_serious
        is_shown = is_serious or not self._listens
        # A pt-bridge's line for its clients lacks what we add to it.
        is_shown = is_shown and CLIENT_OPTIONS not in text
        self._log.write(logging.INFO if is_shown else logging.DEBUG, text)
