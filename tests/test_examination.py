"""What both sides' examinations have in common."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING

import pytest

from pt_bridge.child import WORDS
from pt_bridge.config import Config, variables_from_flags
from pt_bridge.diagnosis import Step, Verdict, failed, ok
from pt_bridge.errors import NotOffered, ProtocolError
from pt_bridge.examination import Examination, Words
from pt_bridge.log import logger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pt_bridge.examination import Look
    from tests.processes import Bench

CONFIG = Config(
    variables_from_flags(
        local="127.0.0.1:1", remote="127.0.0.1:2", plugin_options="transport=obfs3"
    )
)


class Walk(Examination):
    """A chain of links that a test makes."""

    links: Sequence[tuple[str, Look, int]] = ()

    def _links(self) -> Sequence[tuple[str, Look, int]]:
        return self.links


async def walked(*looks: Look, limit: float = 20.0) -> list[Step]:
    walk = Walk(CONFIG, {}, deadline=asyncio.get_running_loop().time() + limit)
    walk.links = [(f"link{n}", look, 60 + n) for n, look in enumerate(looks)]
    async with walk:
        return [step async for step in walk.steps()]


async def good() -> Sequence[Step]:
    return [ok("good")]


async def nothing() -> Sequence[Step]:
    return []


async def two_bad() -> Sequence[Step]:
    return [failed("first", 66), failed("second", 66)]


async def raises_its_own() -> Sequence[Step]:
    raise NotOffered("not offered")


async def raises_another() -> Sequence[Step]:
    raise ProtocolError("odd")


async def waits() -> Sequence[Step]:
    await asyncio.Event().wait()
    return []


async def test_links_are_looked_at_in_order_as_far_as_the_first_that_is_broken() -> (
    None
):
    steps = await walked(good, nothing, two_bad, good)
    assert [(step.link, step.text) for step in steps] == [
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
    look: Look, code: int, text: str
) -> None:
    (step,) = await walked(look, good, limit=0.05)
    assert step.verdict is Verdict.FAILED
    assert step.exit_code == code
    assert text in step.text


async def test_nobody_else_s_log_is_changed() -> None:
    before = (logger.level, list(logger.handlers))
    await walked(good)
    assert (logger.level, list(logger.handlers)) == before


def test_the_words_of_a_pt_are_told_from_our_own(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with Words() as words, caplog.at_level(logging.CRITICAL, logger="nothing"):
        logger.info(WORDS, "lyrebird", "first")
        logger.debug(WORDS, "lyrebird", "second")
        logger.debug("< VERSION")
        logger.warning("%s is odd", "it")
        assert words.take() == "lyrebird: second"
        assert words.take() == ""
        assert words.take_warnings() == ["it is odd"]
        assert words.take_warnings() == []


class OneLook(Examination):
    """Looks for the program, and no further."""

    def _links(self) -> Sequence[tuple[str, Look, int]]:
        return (("program", self._look_for_program, 65),)


async def looked_for(bench: Bench, *, flags: dict[str, str | None]) -> list[Step]:
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
        return [step async for step in look.steps()]


async def test_a_program_that_is_passed_over_is_warned_of(bench: Bench) -> None:
    """SE-03: somebody could have put it there."""
    other = bench.install("lyrebird", folder="lyrebird")
    other.path.chmod(0o777)
    bench.variables["PATH"] = f"{other.folder}:{bench.variables['PATH']}"
    steps = await looked_for(bench, flags={})
    assert [step.verdict for step in steps] == [Verdict.WARNING, Verdict.OK]
    assert str(other.path) in steps[0].text
    assert steps[1].text == f"{bench.pt.path}, obfs4proxy-0.0.1"


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
    (step,) = await looked_for(bench, flags={"exec": str(path)})
    assert step.text == str(path)
    assert step.seconds < 5


async def test_a_program_that_does_not_start_is_none_of_its_version_s(
    bench: Bench,
) -> None:
    bench.pt.path.write_text("no program\0")
    (step,) = await looked_for(bench, flags={})
    assert step.text == str(bench.pt.path)
