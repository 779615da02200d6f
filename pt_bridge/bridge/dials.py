"""What bridges dial with: tasks that end alone, and the one address of a name."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, TypeVar

from pt_bridge.errors import ResolverFailed, UsageError
from pt_bridge.net.resolve import is_temporary
from pt_bridge.options.ss_variables import CALLED, REMOTE_HOST
from pt_bridge.system.log import logger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from typing import Protocol, Self

    from pt_bridge.net.resolve import Resolver
    from pt_bridge.options.config import Config
    from pt_bridge.protocol.address import Address

    class Dialling(Protocol):
        """A task, or a `ServerDial`."""

        def cancel(self) -> object:
            """Give it up; whoever waits is told that nothing was reached."""


T = TypeVar("T")


@contextlib.asynccontextmanager
async def quiet_tasks() -> AsyncIterator[asyncio.TaskGroup]:
    """Return a group of tasks that raise nothing; the block's error comes through."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


async def or_none(dialling: Coroutine[None, None, T]) -> T | None:
    """Return what was reached; a bug is logged, and stands for nothing reached."""
    try:
        return await dialling
    except Exception:
        logger.exception("a bug ended a connection")
        return None


class Dials:
    """All that reaches the other side for connections, while the block lasts.

    Other tasks of a bridge's may run beside it.

    Attributes:
        on_ended: called behind the end of each.
    """

    def __init__(self, on_ended: Callable[[], None]) -> None:
        """Begin with none."""
        self.on_ended = on_ended
        self._dialling: set[Dialling] = set()
        self._block = contextlib.AsyncExitStack()
        self._tasks: asyncio.TaskGroup

    async def __aenter__(self) -> Self:
        self._tasks = await self._block.enter_async_context(quiet_tasks())
        return self

    async def __aexit__(self, *how: Any) -> None:
        await self._block.__aexit__(*how)

    def __len__(self) -> int:
        return len(self._dialling)

    def create_task(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run something else as long as the block lasts."""
        return self._tasks.create_task(work)

    def start(
        self,
        dialling: Coroutine[None, None, T],
        on_dialled: Callable[[T | None], None],
    ) -> None:
        """Reach the other side for a connection.

        Args:
            dialling: gives what was reached, or None.
            on_dialled: gets that, in any case.
        """
        task = self._tasks.create_task(or_none(dialling))
        self._dialling.add(task)

        # Not in the task itself: one that is cancelled before it begins runs nothing.
        def ended(task: asyncio.Task[T | None]) -> None:
            dialling.close()  # else Python warns of it
            self.remove(task)
            on_dialled(None if task.cancelled() else task.result())
            self.on_ended()

        task.add_done_callback(ended)

    def add(self, dialling: Dialling) -> None:
        """Know of one that removes itself, and calls `on_ended`, when it has ended."""
        self._dialling.add(dialling)

    def remove(self, dialling: Dialling) -> None:
        """Know nothing of one any more."""
        self._dialling.discard(dialling)

    def cancel(self) -> None:
        """Reach nothing any more for those who wait."""
        for dialling in list(self._dialling):
            dialling.cancel()


async def one_ip(
    resolver: Resolver, config: Config, variable: bytes, address: Address
) -> Address:
    """Return what a PT wants as an IP address.

    Args:
        resolver: looks up a name.
        config: what the user asks for, and how long a DNS may be late.
        variable: the SS_* variable that has the name, or what stands in its place.
        address: what was given.

    Raises:
        UsageError: there is none; it calls the name as whoever wrote it does.
        ResolverFailed: the DNS is not there, late as the network may be at boot.
    """
    name = "--remote" if variable == REMOTE_HOST else "--local"
    if config.plugin:
        name = CALLED.get(variable, variable.decode())
    try:
        found = await resolver.resolve(address, patience=config.start_timeout)
    except OSError as error:
        text = f"{name} cannot be resolved: {error.strerror}"
        if is_temporary(error):
            raise ResolverFailed(f"{text}; it may be later") from None
        raise UsageError(f"{text}; give an IP address") from None
    if len(found) > 1:
        logger.info("%s has several addresses, taking %s", name, found[0].host)
    return found[0]
