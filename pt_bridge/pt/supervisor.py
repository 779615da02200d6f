"""One PT after the other: started, and started again when it has died.

Where there are several, for several transports, each is kept running by itself. One
that cannot be, its program missing for instance, rests for a while, and longer each
time, as long as there is another.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, NoReturn

from pt_bridge.errors import PtBridgeError
from pt_bridge.pt.backoff import STABLE, Backoff, for_good
from pt_bridge.system.log import logger
from pt_bridge.ways.selection import rest_after

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from pt_bridge.errors import PtExited
    from pt_bridge.plugin.process import PluginProcess
    from pt_bridge.pt.process import PtProcess
    from pt_bridge.system.child_process import ChildProcess

# A stop signals us and the PT at once, and we may hear of the PT's death first: how
# long our own signal may take to come (seconds). No PT is started again before.
STOP_PATIENCE = 0.1


class Supervisor:
    """Keeps one PT running.

    Attributes:
        transports: what it is for.
        process: the PT that was started last, or None.
        outer: the plugin outside it, likewise.
        ready_since: since when it is ready, on the loop's clock, or None.
        restarts: how often a PT was started again.
        failure: why it rests, or None.
        rests_until: until when, on the loop's clock.
    """

    def __init__(
        self,
        transports: Sequence[str],
        run: Callable[[Supervisor], Coroutine[None, None, PtExited]],
        *,
        restarts: int,
        on_died: Callable[[], None],
        rest_after: Callable[[int, float], float] = rest_after,
    ) -> None:
        """Create one that has started nothing yet.

        Args:
            transports: what the PT is for.
            run: starts one, and returns the error for its end; it tells us of what it
                has started, and when it was ready.
            restarts: how many deaths without a stable time between are forgiven.
            on_died: called whenever one has died.
            rest_after: see `ways.selection`.
        """
        self.transports = transports
        self.process: PtProcess | None = None
        self.outer: PluginProcess | None = None
        self.ready_since: float | None = None
        self.restarts = 0
        self.failure: PtBridgeError | None = None
        self.rests_until = 0.0
        self._run = run
        self._limit = restarts
        self._on_died = on_died
        self._rest_after = rest_after
        self._loop = asyncio.get_running_loop()

    def on_started(self, process: PtProcess) -> None:
        """Take note of the PT that is there to be stopped now."""
        self.process = process

    def on_outer_started(self, process: PluginProcess) -> None:
        """Take note of the plugin outside it, likewise."""
        self.outer = process

    def on_ready(self) -> None:
        """Take note that the PT is ready."""
        self.ready_since = self._loop.time()

    @property
    def children(self) -> list[ChildProcess]:
        """What was started, which may have ended."""
        return list(filter(None, (self.process, self.outer)))

    def has_died(self) -> bool:
        """Whether the PT has died, or the plugin that carries its connections."""
        return any(child.is_ending() for child in self.children)

    def describe(self, *, is_only: bool) -> tuple[str, int]:
        """Return what is said of the PT in a report, and its pid, or 0.

        Args:
            is_only: whether there is no other PT.
        """
        process = self.process
        if process is not None and not process.is_ending():
            return process.launch.name_and_version, process.pid
        if is_only:
            return "the PT does not run", 0
        why = "it is started again" if self.failure is None else str(self.failure)
        left = max(0.0, self.rests_until - self._loop.time())
        rests = f"; next try in {left:.0f} s" if left else ""
        return f"the PT for {', '.join(self.transports)} does not run: {why}{rests}", 0

    async def keep_running(self) -> NoReturn:
        """Run one PT after the other, as long as they do not die too often.

        Raises:
            PtBridgeError: one could not be started, or died once too often.
        """
        backoff = Backoff(self._limit)
        has_been_ready = False
        while True:
            self.ready_since = None
            failure: PtBridgeError
            try:
                failure = await self._run(self)
            except PtBridgeError as error:
                if not (has_been_ready and error.is_temporary):
                    raise
                failure = error
            has_been_ready = True
            self._on_died()
            wait = backoff.after_death(lived=self._lived(), chance=random.random())  # noqa: S311
            await asyncio.sleep(STOP_PATIENCE)
            if wait is None:
                raise for_good(failure, backoff.deaths, self._limit)
            logger.warning(
                "%s; starting the PT again in %.1f s (%d of %d)",
                failure,
                wait,
                backoff.deaths,
                self._limit,
            )
            await asyncio.sleep(wait - STOP_PATIENCE)
            self.restarts += 1

    async def keep_trying(self, has_others: Callable[[], bool]) -> NoReturn:
        """Do so, and begin anew after a rest, as long as there is another PT.

        Args:
            has_others: whether another one runs, or may do so soon.

        Raises:
            PtBridgeError: there is none; how this one has failed.
        """
        rests = 0
        while True:
            try:
                await self.keep_running()
            except PtBridgeError as error:
                self.failure = error
                if not has_others():
                    raise
                if self._lived() >= STABLE:
                    rests = 0
                rest = self._rest_after(rests, random.random())  # noqa: S311
                rests += 1
                self.rests_until = self._loop.time() + rest
                logger.warning(
                    "%s; without it, %s for %.0f s", error, self._what_rests(), rest
                )
            await asyncio.sleep(rest)
            self.failure = None
            self.restarts += 1

    def _what_rests(self) -> str:
        if len(self.transports) == 1:
            return f"the way by {self.transports[0]} rests"
        return f"the ways by {' and '.join(self.transports)} rest"

    def _lived(self) -> float:
        return 0.0 if self.ready_since is None else self._loop.time() - self.ready_since


async def keep_running(supervisors: Sequence[Supervisor]) -> NoReturn:
    """Keep all running, each by itself, until none of them can be.

    Raises:
        PtBridgeError: how the last one has failed.
    """
    if len(supervisors) == 1:
        await supervisors[0].keep_running()

    def has_others() -> bool:
        return any(each.failure is None for each in supervisors)

    try:
        async with asyncio.TaskGroup() as tasks:
            for each in supervisors:
                tasks.create_task(each.keep_trying(has_others))
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    raise AssertionError("a PT is kept running for ever")
