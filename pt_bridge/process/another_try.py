"""How long a tunnel that has failed waits until it is started again."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import TYPE_CHECKING

from pt_bridge.errors import PtBridgeError
from pt_bridge.system.log import logger

if TYPE_CHECKING:
    from collections.abc import Callable

# Doubled each time, and from the beginning once it was ready (seconds).
FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0


class AnotherTry:
    """Waits longer each time, until it is told that there is no need to."""

    def __init__(self) -> None:
        self._wait = FIRST_WAIT
        self._wanted = asyncio.Event()

    def has_succeeded(self) -> None:
        """Begin with short waits again."""
        self._wait = FIRST_WAIT

    def now(self) -> None:
        """Wait no longer: something has changed."""
        self._wanted.set()

    async def after(
        self,
        failure: Exception | None,
        in_its_words: Callable[[object], object] = lambda what: what,
    ) -> None:
        """Say what has failed, and wait.

        Args:
            failure: what, if anybody knows; one that is none of ours is a bug.
            in_its_words: puts that into the words of the tunnel's owner.
        """
        is_bug = not isinstance(failure, PtBridgeError)
        what = "a bug" if is_bug else in_its_words(failure)
        trace = failure if is_bug else None
        logger.error("%s; trying again in %.0f s", what, self._wait, exc_info=trace)
        wait = self._wait * random.uniform(0.8, 1.2)  # noqa: S311 - no secret
        self._wait = min(2 * self._wait, LONGEST_WAIT)
        self._wanted.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await self._wanted.wait()
