"""What a program that we run writes: in our log, within limits, and its last words."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

from pt_bridge.system.log import logger
from pt_bridge.system.rate_limit import LineRation

if TYPE_CHECKING:
    from collections.abc import Callable

# How Go begins when it gives up: a panic, a fatal error of its runtime, SIGQUIT.
CRASH = re.compile(r"(panic|fatal error|SIG[A-Z]+): ")


class LastWords:
    """The line of a program's output that tells why it ended.

    A program in Go that crashes says why in the first line, and then writes some
    hundred lines of stacks and registers, the last of which means nothing to anybody.

    Attributes:
        text: the first line of a crash, or else the last line; "" for none.
    """

    def __init__(self) -> None:
        """Begin with nothing written."""
        self.text = ""
        self._is_crash = False

    def receive(self, line: str) -> None:
        """Take the next line, which is not empty."""
        if not self._is_crash:
            self.text = line
            self._is_crash = CRASH.match(line) is not None


class ProgramLog:
    """Writes to our log what a program has written; not a flood of it."""

    def __init__(self, program: str, clock: Callable[[], float]) -> None:
        """Create one that has written nothing.

        Args:
            program: what the log calls it.
            clock: returns the time, in seconds of a clock that goes steadily.
        """
        self._program = program
        self._clock = clock
        self._serious, self._other = LineRation(), LineRation()
        self._news = ""

    def write(self, level: int, text: str) -> None:
        """Log a line, unless there were too many and nobody debugs."""
        self._news = f"{self._program}: {text}"
        if not logger.isEnabledFor(level):
            return
        ration = self._serious if level >= logging.WARNING else self._other
        is_debugging = logger.isEnabledFor(logging.DEBUG)
        held_back = 0 if is_debugging else ration.admit(self._clock())
        if held_back is None:
            return
        if held_back:
            logger.info(
                "%s wrote %d more lines (loglevel=debug shows all)",
                self._program,
                held_back,
            )
        logger.log(level, "%s", self._news)

    def take_news(self) -> str:
        """Return the last line since this was asked, or ""."""
        news, self._news = self._news, ""
        return news
