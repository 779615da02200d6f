"""Tasks that reach the other side: what one that fails costs."""

from __future__ import annotations

import asyncio
import gc

import pytest

from pt_bridge.bridge.dials import Dials, or_none, quiet_tasks
from pt_bridge.errors import PtExited
from tests.support.tcp import turn_until


async def reached() -> str:
    return "reached"


async def broken() -> str:
    raise KeyError


async def test_what_was_reached_is_returned() -> None:
    assert await or_none(reached()) == "reached"


async def test_a_bug_costs_one_connection(caplog: pytest.LogCaptureFixture) -> None:
    assert await or_none(broken()) is None
    assert "a bug ended a connection" in caplog.text


async def test_the_error_of_the_block_comes_through() -> None:
    """As it is, and not in a group."""

    async def fail() -> None:
        async with quiet_tasks() as tasks:
            tasks.create_task(asyncio.Event().wait())
            raise PtExited("it ended")

    with pytest.raises(PtExited):
        await fail()


async def waiting(begun: asyncio.Event) -> str:
    begun.set()
    await asyncio.Event().wait()
    return "reached"


async def test_whoever_waits_is_told_what_was_reached_or_that_nothing_was() -> None:
    """And behind that, that a dialling has ended."""
    told: list[str | None] = []
    dials = Dials(lambda: told.append("ended"))
    async with dials:
        dials.start(reached(), told.append)
        dials.start(broken(), told.append)
        assert len(dials) == 2
        other = dials.create_task(reached())
        await turn_until(lambda: not dials)
        assert await other == "reached"
        begun = asyncio.Event()
        dials.start(waiting(begun), told.append)
        await begun.wait()
        dials.cancel()
    assert told == ["reached", "ended", None, "ended", None, "ended"]
    assert not dials


async def test_one_that_is_cancelled_before_it_begins_is_told_of_as_well() -> None:
    """And Python, which would warn of a coroutine that nobody awaits, is silent."""
    told: list[str | None] = []
    async with Dials(lambda: told.append("ended")) as dials:
        dials.start(reached(), told.append)
        dials.cancel()
    assert told == [None, "ended"]
    gc.collect()
