"""How long a tunnel that has failed waits: longer each time, or no longer."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from pt_bridge.errors import ListenError
from pt_bridge.process.another_try import AnotherTry

if TYPE_CHECKING:
    import pytest


async def wait(another_try: AnotherTry, failure: Exception | None) -> None:
    """Wait for no longer than it takes to say why."""
    task = asyncio.ensure_future(another_try.after(failure))  # noqa: TID251
    await asyncio.sleep(0)
    another_try.now()
    await task


async def test_the_wait_is_doubled_until_it_succeeds(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.ERROR)
    another_try = AnotherTry()
    for _ in range(8):
        await wait(another_try, ListenError("no port"))
    another_try.has_succeeded()
    await wait(another_try, ListenError("no port"))
    assert [record.getMessage() for record in caplog.records] == [
        f"no port; trying again in {seconds} s"
        for seconds in (1, 2, 4, 8, 16, 32, 60, 60, 1)
    ]


async def test_a_bug_is_told_with_its_trace(caplog: pytest.LogCaptureFixture) -> None:
    await wait(AnotherTry(), KeyError("x"))
    (record,) = caplog.records
    assert record.getMessage() == "a bug; trying again in 1 s"
    assert record.exc_info


async def test_it_says_what_failed_in_its_owners_words(
    caplog: pytest.LogCaptureFixture,
) -> None:
    another_try = AnotherTry()
    failure = ListenError("--remote")
    task = asyncio.ensure_future(  # noqa: TID251
        another_try.after(failure, lambda what: str(what).replace("--remote", "listen"))
    )
    await asyncio.sleep(0)
    another_try.now()
    await task
    assert caplog.messages == ["listen; trying again in 1 s"]


async def test_it_waits() -> None:
    another_try = AnotherTry()
    loop = asyncio.get_running_loop()
    began = loop.time()
    await another_try.after(None)
    assert loop.time() - began > 0.5
