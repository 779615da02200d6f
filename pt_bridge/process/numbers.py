"""The page of numbers of a process, which two pt-bridges serve one after the other."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from pt_bridge.errors import ConfigError, ListenError
from pt_bridge.net import takeover
from pt_bridge.system.log import logger

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable
    from typing import Self

    from pt_bridge.metrics.figures import Figures
    from pt_bridge.protocol.address import Address

# How often, and how many times, to try where another pt-bridge has yet to let go
# (seconds).
AGAIN, TRIES = 0.1, 100


class Numbers:
    """Serves them while its block lasts, or until it is told to end."""

    def __init__(
        self,
        place: Address | str | None,
        ask: Callable[[], Iterable[Figures]],
        *,
        spawn: Callable[[Coroutine[None, None, None]], asyncio.Task[None]],
        name: str = "--metrics",
    ) -> None:
        """Create it.

        Args:
            place: where, or None for nowhere (`metrics.service`).
            ask: returns the figures of all bridges.
            spawn: starts a task.
            name: what its owner calls the option.
        """
        self._place = place
        self._ask = ask
        self._name = name
        self._stack = contextlib.AsyncExitStack()
        self._spawn = spawn
        self._late: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Serve them; where another pt-bridge does, only once that was told to end.

        Raises:
            ConfigError: it cannot be done.
        """
        if takeover.is_going_on():
            takeover.afterwards(self._begin_late)
        else:
            await self._begin()
        return self

    async def __aexit__(self, *_: object) -> None:
        """End it."""
        if self._late is not None:
            self._late.cancel()
        await self.end()

    async def end(self) -> None:
        """Serve no numbers any more; safe to call again."""
        await self._stack.aclose()

    async def _begin(self) -> None:
        if self._place is None:
            return
        from pt_bridge.metrics.service import serving  # for what few ask for

        await self._stack.enter_async_context(
            serving(self._place, self._ask, name=self._name)
        )

    def _begin_late(self) -> None:
        self._late = self._spawn(self._try_to_begin())

    async def _try_to_begin(self) -> None:
        for _ in range(TRIES):
            try:
                await self._begin()
            except ListenError as error:
                failure: ConfigError = error
                await asyncio.sleep(AGAIN)
            except ConfigError as error:
                failure = error
                break
            else:
                return
        logger.error("%s; no numbers are served", failure)
