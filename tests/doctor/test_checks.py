"""What both sides' examinations have in common."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest

from pt_bridge.doctor.checks import Checks
from pt_bridge.doctor.report import CheckResult, Verdict, failed, ok
from pt_bridge.errors import NotOffered, ProtocolError, UsageError
from pt_bridge.options.config import Config
from pt_bridge.options.ss_variables import variables_from_flags
from pt_bridge.system.log import logger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pt_bridge.doctor.checks import Check
    from tests.support.processes import Bench

CONFIG = Config(
    variables_from_flags(
        local="127.0.0.1:1", remote="127.0.0.1:2", plugin_options="transport=obfs3"
    )
)


class Walk(Checks):
    """A chain of links that a test makes."""

    links: Sequence[tuple[str, Check, int]] = ()
    needs_time = frozenset({"link"})

    def _checks(self) -> Sequence[tuple[str, Check, int]]:
        return self.links


async def walked(*looks: Check, limit: float = 20.0) -> list[CheckResult]:
    walk = Walk(CONFIG, {}, deadline=asyncio.get_running_loop().time() + limit)
    walk.links = [(f"link{n}", look, 60 + n) for n, look in enumerate(looks)]
    async with walk:
        return [result async for result in walk.results()]


async def test_who_waits_is_told_that_a_look_goes_on() -> None:
    """As often as it takes, whatever the reader makes of it."""
    told: list[CheckResult] = []
    enough = asyncio.Event()

    def hear(result: CheckResult) -> None:
        told.append(result)
        if len(told) == 2:
            enough.set()
        raise UsageError("nobody reads that")

    async def slow() -> Sequence[CheckResult]:
        await enough.wait()
        return [ok("at last")]

    walk = Walk(CONFIG, {}, deadline=asyncio.get_running_loop().time() + 20)
    walk.links = [("handshake", slow, 60), ("link", good, 61)]
    walk.on_waiting, walk.waiting_interval = hear, 0.01
    async with walk:
        results = [result async for result in walk.results()]
    assert [result.text for result in results] == ["at last", "good"]
    assert [result.verdict for result in told] == [Verdict.WAITING] * 2
    assert all("PTs take a minute" in result.text for result in told)
    assert "s more" in told[0].text


async def good() -> Sequence[CheckResult]:
    return [ok("good")]


async def nothing() -> Sequence[CheckResult]:
    return []


async def two_bad() -> Sequence[CheckResult]:
    return [failed("first", 66), failed("second", 66)]


async def raises_its_own() -> Sequence[CheckResult]:
    raise NotOffered("not offered")


async def raises_another() -> Sequence[CheckResult]:
    raise ProtocolError("odd")


async def waits() -> Sequence[CheckResult]:
    await asyncio.Event().wait()
    return []


async def test_links_are_looked_at_in_order_as_far_as_the_first_that_is_broken() -> (
    None
):
    results = await walked(good, nothing, two_bad, good)
    assert [(result.link, result.text) for result in results] == [
        ("link0", "good"),
        ("link2", "first"),
    ]


@pytest.mark.parametrize(
    ("look", "code", "text"),
    [
        (raises_its_own, 69, "not offered"),
        (raises_another, 60, "odd"),
        (waits, 75, "no time left"),
    ],
)
async def test_what_a_look_raises_breaks_the_chain(
    look: Check, code: int, text: str
) -> None:
    (result,) = await walked(look, good, limit=0.05)
    assert result.verdict is Verdict.FAILED
    assert result.exit_code == code
    assert text in result.text


@pytest.mark.parametrize(
    ("result", "code", "text", "advice"),
    [
        (failed("a lack of time", 77), 67, "not proven within ", "leave out --timeout"),
        (
            failed("the same", 77, "do that"),
            67,
            "not proven within ",
            "leave out --timeout; if that tells no more, do that",
        ),
        (ok("in time"), 0, "in time", ""),
    ],
)
async def test_what_had_too_little_time_to_fail_for_sure_is_not_proven(
    result: CheckResult, code: int, text: str, advice: str
) -> None:
    """It is no fault of the server's."""

    async def look() -> Sequence[CheckResult]:
        assert walk._limit(90) == 0
        return [result]

    walk = Walk(CONFIG, {}, deadline=asyncio.get_running_loop().time() - 1)
    walk.links = [("link", look, 60)]
    async with walk:
        (found,) = [each async for each in walk.results()]
    assert found.exit_code == code
    assert found.text.startswith(text)
    assert found.advice == advice


async def test_nobody_else_s_log_is_changed() -> None:
    before = (logger.level, list(logger.handlers))
    await walked(good)
    assert (logger.level, list(logger.handlers)) == before


class OneLook(Checks):
    """Looks for the program, and no further."""

    def _checks(self) -> Sequence[tuple[str, Check, int]]:
        return (("program", self._check_program, 65),)


async def looked_for(
    bench: Bench, *, flags: dict[str, str | None]
) -> list[CheckResult]:
    variables = {
        key.encode(): os.fsencode(value) for key, value in bench.variables.items()
    }
    given = variables_from_flags(
        local="127.0.0.1:1", remote="127.0.0.1:2", plugin_options="transport=obfs3"
    )
    look = OneLook(
        Config(given, flags=flags),
        variables,
        deadline=asyncio.get_running_loop().time() + 20,
    )
    async with look:
        return [result async for result in look.results()]


async def test_a_program_that_is_passed_over_is_warned_of(bench: Bench) -> None:
    """SE-03: somebody could have put it there."""
    other = bench.install("lyrebird", folder="lyrebird")
    other.path.chmod(0o777)
    bench.variables["PATH"] = f"{other.folder}:{bench.variables['PATH']}"
    results = await looked_for(bench, flags={})
    assert [result.verdict for result in results] == [Verdict.WARNING, Verdict.OK]
    assert str(other.path) in results[0].text
    assert results[1].text == f"{bench.pt.path}, obfs4proxy-0.0.1"


@pytest.mark.parametrize(
    ("script", "name"),
    [
        ("echo obfs4proxy-9 >&2; exit 1", "other"),
        ("echo usage: x", "obfs4proxy"),
        ("exit 1", "obfs4proxy"),
        ("exec sleep 1000", "obfs4proxy"),
    ],
)
async def test_a_program_that_tells_no_version_has_none(
    bench: Bench, script: str, name: str
) -> None:
    """Only those that we know are asked."""
    path = bench.folder / name / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    (result,) = await looked_for(bench, flags={"exec": str(path)})
    assert result.text == str(path)
    assert result.seconds < 100


async def test_a_program_that_does_not_start_is_none_of_its_version_s(
    bench: Bench,
) -> None:
    bench.pt.path.write_text("no program\0")
    (result,) = await looked_for(bench, flags={})
    assert result.text == str(bench.pt.path)
