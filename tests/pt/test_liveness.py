"""A PT that lives and does nothing is told from one that works."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

import pytest

from pt_bridge.protocol.address import Address
from pt_bridge.pt.liveness import Liveness
from tests.support.tcp import not_listening, read, turn_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

SOON, LONG = 0.05, 3600.0  # seconds


class Rig:
    """A port where a PT should be, and what was told of it."""

    def __init__(self, tasks: asyncio.TaskGroup, *, failing_for: float) -> None:
        self._tasks = tasks
        self.loop = asyncio.get_running_loop()
        self.server = socket.create_server(("127.0.0.1", 0))
        self.server.setblocking(False)
        self.told: list[str] = []
        self.asked: list[asyncio.Task[None]] = []
        self.liveness = Liveness(
            self.loop,
            Address(*self.server.getsockname()),
            lambda: self.told.append("stuck"),
            spawn=self._spawn,
            failing_for=failing_for,
            answer_limit=SOON if failing_for == SOON else LONG,
        )

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        self.asked.append(self._tasks.create_task(work))
        return self.asked[-1]

    async def is_done(self, number: int) -> None:
        await turn_until(lambda: len(self.asked) == number and self.asked[-1].done())


@contextlib.asynccontextmanager
async def rig(failing_for: float = 0.0) -> AsyncIterator[Rig]:
    async with asyncio.TaskGroup() as tasks:
        built = Rig(tasks, failing_for=failing_for)
        with built.server:
            yield built
            built.liveness.stop()
            built.liveness.stop()


async def test_a_pt_that_answers_nothing_is_stuck() -> None:
    """Its kernel takes the connection; nobody reads it."""
    async with rig(SOON) as r:
        r.liveness.on_failed()
        await turn_until(lambda: r.told)
        assert r.told == ["stuck"]


@pytest.mark.parametrize("answer", [b"\5\0", b"\5\xff", b""])
async def test_a_pt_that_answers_anything_is_not(answer: bytes) -> None:
    """Nor is one that ends the connection; and it is asked again when that goes on."""
    async with rig() as r:
        for number in (1, 2):
            r.liveness.on_failed()
            r.liveness.on_failed()
            sock, _ = await r.loop.sock_accept(r.server)
            with sock:
                assert await read(sock, 3) == b"\5\1\0"
                await r.loop.sock_sendall(sock, answer)
            await r.is_done(number)
        assert r.told == []


async def test_one_that_is_not_there_is_for_others_to_notice() -> None:
    async with rig() as r:
        with not_listening(r.server):
            r.liveness.on_failed()
            await r.is_done(1)
        assert r.told == []


async def test_a_tunnel_that_succeeds_ends_the_suspicion() -> None:
    """And a failure that has lasted counts from its beginning."""
    async with rig(LONG) as r:
        r.liveness.on_failed()
        r.liveness.on_succeeded()
        assert r.asked == []
        r.liveness.on_failed(since=LONG)
        await turn_until(lambda: r.asked)
        r.liveness.stop()
