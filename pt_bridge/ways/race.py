"""Trying several ways to the server until one gets through (as RFC 8305 has it).

The next one begins as soon as one fails, or when one has been silent for a while; the
first to get through wins, and the others are left.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Coroutine, Sequence

    Dial = Callable[["T"], Coroutine[None, None, socket.socket]]

T = TypeVar("T")

# How long one may be silent before the next one begins, too (seconds).
PATIENCE = 2.0


async def first_through(
    ways: Sequence[T],
    dial: Dial[T],
    on_failed: Callable[[T, Exception | None], None],
    *,
    patience: float = PATIENCE,
) -> tuple[socket.socket, T]:
    """Dial the ways in turn, and return the first connection, and its way.

    Args:
        ways: at least one; the first is tried first.
        dial: connects by one, or raises an error.
        on_failed: called for one that failed, with the error; None for one that was
            silent for `patience` when another got through.
        patience: see `PATIENCE`, in seconds.

    Raises:
        Exception: all have failed; the last one's error.
    """
    if len(ways) == 1:  # nothing to race with
        return await dial(ways[0]), ways[0]
    started: dict[asyncio.Task[socket.socket | Exception], T] = {}
    winner: socket.socket | None = None
    try:
        async with asyncio.TaskGroup() as group:
            waiting, silent, running = list(ways), set[T](), set(started)
            while True:
                if waiting:
                    way = waiting.pop(0)
                    task = group.create_task(_outcome(dial(way)))
                    started[task] = way
                    running.add(task)
                done, running = await asyncio.wait(
                    running,
                    timeout=patience if waiting else None,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if not done:
                    silent.update(started[task] for task in running)
                for task in done:
                    got = task.result()
                    if not isinstance(got, Exception):
                        winner = got
                        for each in running:
                            each.cancel()
                        for way in silent & {started[each] for each in running}:
                            on_failed(way, None)
                        return got, started[task]
                    on_failed(started[task], got)
                    if not (running or waiting):
                        raise got
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    finally:
        _close_all_but(winner, list(started))


async def _outcome(
    dialling: Coroutine[None, None, socket.socket],
) -> socket.socket | Exception:
    try:
        return await dialling
    except Exception as error:
        return error


def _close_all_but(
    winner: socket.socket | None,
    tasks: Sequence[asyncio.Task[socket.socket | Exception]],
) -> None:
    """Close what others have made meanwhile."""
    for task in tasks:
        got = None if task.cancelled() else task.result()
        if got is not winner and got is not None and not isinstance(got, Exception):
            got.close()
