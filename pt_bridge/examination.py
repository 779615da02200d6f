"""Walk a chain, link by link, as far as the first that is broken.

What both sides have in common; the rest is in `pt_bridge.client_examination` and
`pt_bridge.server_examination`. Everything that is started for a look is gone when the
block ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections import deque
from typing import TYPE_CHECKING

from pt_bridge import causes, owner, pt
from pt_bridge.child import WORDS
from pt_bridge.command import Command
from pt_bridge.diagnosis import LATE, Step, exit_code, failed, ok, warning
from pt_bridge.errors import PtBridgeError
from pt_bridge.log import logger
from pt_bridge.transports import PROGRAMS

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
    from types import TracebackType

    from pt_bridge.child import Child
    from pt_bridge.config import Config

    Look = Callable[[], Coroutine[None, None, Sequence[Step]]]

# How long a program may take to tell its version (seconds).
VERSION_LIMIT = 2.0
MAX_VERSION = 80  # characters
WORDS_KEPT = 20


class Words(logging.Handler):
    """Keeps what a PT says, and our own warnings, instead of a log."""

    def __init__(self) -> None:
        super().__init__()
        self._words: deque[str] = deque(maxlen=WORDS_KEPT)
        self._warnings: deque[str] = deque(maxlen=WORDS_KEPT)

    def emit(self, record: logging.LogRecord) -> None:
        """Take one record."""
        if record.msg == WORDS:
            self._words.append(record.getMessage())
        elif record.levelno >= logging.WARNING:
            self._warnings.append(record.getMessage())

    def take(self) -> str:
        """Give the PT's last words, and forget all; "" where it has said nothing."""
        last = self._words[-1] if self._words else ""
        self._words.clear()
        return last

    def take_warnings(self) -> list[str]:
        """Give our own warnings, and forget them."""
        found = list(self._warnings)
        self._warnings.clear()
        return found

    def __enter__(self) -> Words:
        self._level = logger.level
        logger.setLevel(logging.DEBUG)
        logger.addHandler(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        logger.removeHandler(self)
        logger.setLevel(self._level)


class Examination:
    """Looks at the links of one side's chain."""

    def __init__(
        self, config: Config, variables: Mapping[bytes, bytes], *, deadline: float
    ) -> None:
        """Make one; nothing is looked at before `steps`.

        Args:
            config: what the user asks for.
            variables: our environment.
            deadline: the loop's time when all must be done.
        """
        self._config = config
        self._variables = variables
        self._loop = asyncio.get_running_loop()
        self._deadline = deadline
        self._words = Words()
        self._stack = contextlib.AsyncExitStack()
        self._pt: pt.Pt
        self._child: Child | None = None

    async def __aenter__(self) -> Examination:
        self._stack.enter_context(self._words)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End everything that was started."""
        await self._stack.aclose()

    def _links(self) -> Sequence[tuple[str, Look, int]]:
        """Give each link's name, how to look at it, and its exit code."""
        raise NotImplementedError

    async def steps(self) -> AsyncGenerator[Step, None]:
        """Look at one link after the other, until one is broken."""
        for link, look, code in self._links():
            begun = self._loop.time()
            for step in await self._look(look, code):
                yield step.of(link, self._loop.time() - begun)
                if step.has_failed:
                    return

    async def _look(self, look: Look, code: int) -> Sequence[Step]:
        try:
            async with asyncio.timeout_at(self._deadline):
                return await look()
        except PtBridgeError as error:
            return [failed(str(error), exit_code(error, code))]
        except TimeoutError:
            text = "there was no time left for it (--timeout sets the limit)"
            return [failed(text, LATE)]

    def _limit(self, limit: float) -> float:
        """Give how long something may take, so that there is time to tell of it."""
        left = self._deadline - self._loop.time()
        return max(0.0, min(limit, left * 0.9))

    def _heard(self) -> str:
        """Give what the PT has just said, as the end of a sentence."""
        words = self._words.take()
        if not words:
            return ""
        meaning = causes.explain_words(words)
        return f"; {words}" + (f" ({meaning})" if meaning else "")

    # -- links of both sides -----------------------------------------------------------

    async def _look_for_program(self) -> Sequence[Step]:
        wanted = owner.wanted(self._config, self._variables)
        self._pt = pt.find(wanted, self._variables)
        warnings = map(warning, self._words.take_warnings())
        version = await self._version()
        return [*warnings, ok(f"{self._pt}{version}")]

    async def _version(self) -> str:
        """Ask one of those programs for its version that we know to answer."""
        if os.path.basename(self._pt.path) not in PROGRAMS:
            return ""
        command = Command([self._pt.path, "-version"], self._pt.inherited)
        try:
            async with asyncio.timeout(VERSION_LIMIT), command:
                await command.ended()
        except TimeoutError:
            return ""
        except OSError:  # the next look tells why it does not start
            return ""
        first = command.lines[0] if command.lines else ""
        name = os.path.basename(self._pt.path)
        return f", {first[:MAX_VERSION]}" if first.startswith(name) else ""
