"""The next way begins when one fails or is silent, and the first through wins."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from pt_bridge.errors import ConnectRefused
from pt_bridge.net.dialling import TaskDialling
from pt_bridge.ways.race import Race
from tests.support.tcp import pair, turn_until

if TYPE_CHECKING:
    import socket

    from pt_bridge.net.dialling import Dialling, OnConnected

AT_ONCE, NEVER = 0.001, 1000.0  # seconds


class Ways:
    """Ways that a test plays: ``works``, ``fails``, ``silent``, ``late``."""

    def __init__(self) -> None:
        self.dialled: list[str] = []
        self.failed: list[tuple[str, bool]] = []
        self.made: list[socket.socket] = []
        self.cancelled: list[str] = []
        self.may_go_on = asyncio.Event()

    async def dial(self, way: str) -> socket.socket:
        self.dialled.append(way)
        if way.startswith("fails"):
            raise ConnectRefused("no")
        try:
            if way.startswith("silent"):
                await asyncio.Event().wait()
            if way.startswith("late"):
                await self.may_go_on.wait()
        except asyncio.CancelledError:
            self.cancelled.append(way)
            raise
        first, second = pair()
        second.close()
        self.made.append(first)
        return first

    def on_failed(self, way: str, error: Exception | None) -> bool:
        if way.endswith("bug"):
            raise KeyError
        self.failed.append((way, error is None))
        return not way.endswith("for all")

    async def race(self, *ways: str, patience: float = NEVER) -> str:
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[tuple[socket.socket | Exception, str]]
        ended = loop.create_future()

        def begin(way: str, on_connected: OnConnected) -> Dialling:
            return TaskDialling(loop, self.dial(way), on_connected)

        def on_reached(got: socket.socket | Exception, way: str) -> None:
            ended.set_result((got, way))

        race = Race(loop, ways, begin, self.on_failed, on_reached, patience=patience)
        try:
            got, way = await ended
        finally:
            race.cancel()
        if isinstance(got, Exception):
            raise got
        assert got.fileno() >= 0
        got.close()
        await turn_until(lambda: all(each.fileno() < 0 for each in self.made))
        return way


async def test_the_first_that_works_is_all_that_is_tried() -> None:
    ways = Ways()
    assert await ways.race("works", "other") == "works"
    assert (ways.dialled, ways.failed) == (["works"], [])


async def test_the_next_begins_at_once_when_one_fails() -> None:
    ways = Ways()
    assert await ways.race("fails", "fails too", "works") == "works"
    assert ways.failed == [("fails", False), ("fails too", False)]


async def test_the_next_begins_beside_one_that_is_silent() -> None:
    ways = Ways()
    assert await ways.race("silent", "works", patience=AT_ONCE) == "works"
    assert ways.failed == [("silent", True)]
    await turn_until(lambda: ways.cancelled == ["silent"])


async def test_one_that_was_only_slow_may_win_yet() -> None:
    ways = Ways()
    async with asyncio.TaskGroup() as tasks:
        race = tasks.create_task(ways.race("late", "silent", patience=AT_ONCE))
        await turn_until(lambda: len(ways.dialled) == 2)
        ways.may_go_on.set()
    assert race.result() == "late"
    assert ways.failed == []


async def test_the_next_begins_beside_one_that_fails_later() -> None:
    ways = Ways()
    async with asyncio.TaskGroup() as tasks:
        race = tasks.create_task(ways.race("late", "fails", patience=AT_ONCE))
        await turn_until(lambda: ways.failed)
        ways.may_go_on.set()
    assert race.result() == "late"


async def test_a_failure_that_others_would_meet_as_well_ends_the_race() -> None:
    ways = Ways()
    with pytest.raises(ConnectRefused):
        await ways.race("fails for all", "works")
    assert ways.dialled == ["fails for all"]


async def test_a_bug_ends_the_race_and_does_not_leave_it_open() -> None:
    ways = Ways()
    with pytest.raises(KeyError):
        await ways.race("fails by a bug", "works")


async def test_of_two_that_get_through_at_once_one_is_closed() -> None:
    ways = Ways()
    async with asyncio.TaskGroup() as tasks:
        race = tasks.create_task(ways.race("late", "late too", patience=AT_ONCE))
        await turn_until(lambda: len(ways.dialled) == 2)
        ways.may_go_on.set()
    assert race.result().startswith("late")


@pytest.mark.parametrize("ways", [("fails",), ("fails", "fails too")])
async def test_where_all_fail_the_last_error_is_raised(ways: tuple[str, ...]) -> None:
    played = Ways()
    with pytest.raises(ConnectRefused):
        await played.race(*ways)
    assert played.dialled == list(ways)


async def test_nothing_outlives_a_race_that_is_cancelled() -> None:
    ways = Ways()
    async with asyncio.TaskGroup() as tasks:
        race = tasks.create_task(ways.race("silent", "silent too", patience=AT_ONCE))
        await turn_until(lambda: len(ways.dialled) == 2)
        race.cancel()
    await turn_until(lambda: len(ways.cancelled) == 2)
    assert sorted(ways.cancelled) == ["silent", "silent too"]
