"""PTs are kept running, each by itself, as long as one of them can be."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest

from pt_bridge.errors import ProgramError, PtExited
from pt_bridge.pt.supervisor import Supervisor, keep_running

if TYPE_CHECKING:
    from collections.abc import Sequence

MISSING = ProgramError("there is no such program")


class Pt:
    """A PT that does in each of its lives what a test wants.

    Attributes:
        supervisor: what keeps it running.
        lives: how many it has begun.
        goes_on: set when one has begun that goes on for ever.
    """

    def __init__(
        self,
        ends: Sequence[Exception],
        transport: str = "obfs4",
        *,
        rest: float = 0.001,
    ) -> None:
        self._ends = list(ends)
        self.lives = self.died = 0
        self.goes_on = asyncio.Event()
        self.supervisor = Supervisor(
            [transport],
            self._live,
            restarts=1,
            on_died=self._on_died,
            rest_after=lambda failures, chance: rest,
        )

    def _on_died(self) -> None:
        self.died += 1

    async def _live(self, supervisor: Supervisor) -> PtExited:
        assert supervisor is self.supervisor
        self.lives += 1
        if not self._ends:
            supervisor.on_ready()
            self.goes_on.set()
            await asyncio.Event().wait()
        end = self._ends.pop(0)
        if isinstance(end, PtExited):
            supervisor.on_ready()
            return end
        raise end


async def together(*pts: Pt) -> None:
    """Keep them running until all go on for ever."""
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(keep_running([each.supervisor for each in pts]))
        for each in pts:
            await each.goes_on.wait()
        task.cancel()


async def test_one_that_dies_is_started_again(caplog: pytest.LogCaptureFixture) -> None:
    """ER-09."""
    pt = Pt([PtExited("it died", "")])
    await together(pt)
    assert (pt.lives, pt.died, pt.supervisor.restarts) == (2, 1, 1)
    assert "it died; starting the PT again in" in caplog.text


async def test_one_alone_that_cannot_be_started_ends_it() -> None:
    pt = Pt([MISSING])
    with pytest.raises(ProgramError, match="no such program"):
        await keep_running([pt.supervisor])
    assert (pt.lives, pt.died) == (1, 0)


async def test_one_beside_others_rests_and_is_tried_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, "pt_bridge")
    missing, there = Pt([MISSING, MISSING], "webtunnel"), Pt([])
    await together(missing, there)
    assert (missing.lives, there.lives) == (3, 1)
    assert missing.supervisor.failure is None
    assert caplog.messages[0] == (
        "there is no such program; without it, the way by webtunnel rests for 0 s"
    )


async def test_the_ways_of_one_program_rest_together(
    caplog: pytest.LogCaptureFixture,
) -> None:
    missing, there = Pt([MISSING]), Pt([])
    missing.supervisor.transports = ["obfs4", "obfs3"]
    await together(missing, there)
    assert "the ways by obfs4 and obfs3 rest for" in caplog.text


async def test_one_that_dies_too_often_rests_too() -> None:
    dying, there = Pt([PtExited("it died", "")] * 2), Pt([])
    await together(dying, there)
    assert (dying.lives, dying.died) == (3, 2)


async def test_when_the_last_one_cannot_be_either_it_ends() -> None:
    first, last = Pt([MISSING], rest=60), Pt([ProgramError("nor is there this one")])
    with pytest.raises(ProgramError, match="nor is there this one"):
        await keep_running([first.supervisor, last.supervisor])
    assert first.supervisor.failure is MISSING


async def test_it_is_said_why_a_pt_does_not_run_and_until_when() -> None:
    pt = Pt([MISSING]).supervisor
    assert pt.describe(is_only=True) == ("the PT does not run", 0)
    text = "the PT for obfs4 does not run: "
    assert pt.describe(is_only=False) == (f"{text}it is started again", 0)
    pt.failure = MISSING
    pt.rests_until = asyncio.get_running_loop().time() + 1e9
    said, _ = pt.describe(is_only=False)
    assert said.startswith(f"{text}there is no such program; next try in ")
