"""What bridges dial with: tasks that end alone, and the one address of a name."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, TypeVar

from pt_bridge.errors import ResolverFailed, UsageError
from pt_bridge.net.resolve import is_temporary
from pt_bridge.options.ss_variables import CALLED, REMOTE_HOST
from pt_bridge.system.log import logger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from pt_bridge.net.resolve import Resolver
    from pt_bridge.options.config import Config
    from pt_bridge.protocol.address import Address

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
