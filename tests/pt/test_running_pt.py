"""What holds for every PT that is started, and that nothing is left of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pt_bridge.errors import PtExitedBeforeReady, PtStartTimeout
from pt_bridge.files.owner_config import ProgramChoice
from pt_bridge.options.config import Config
from pt_bridge.options.ss_variables import variables_from_flags
from pt_bridge.protocol import pt_environment
from pt_bridge.protocol.pt_launch import State
from pt_bridge.pt import program
from pt_bridge.pt.running_pt import PtSetup, RunningPt
from tests.support.processes import CLIENT, DEADLINE

if TYPE_CHECKING:
    import contextlib

    from tests.support.processes import Bench

CONFIG = Config(
    variables_from_flags(
        local="127.0.0.1:1", remote="127.0.0.1:2", plugin_options="transport=obfs3"
    )
)


class Plain(RunningPt):
    """One that needs nothing made, and tells what happened in which order."""

    def __init__(self, bench: Bench, *, limit: float = DEADLINE) -> None:
        setup = PtSetup(
            CONFIG,
            {},
            lambda: program.find(ProgramChoice([str(bench.pt.path)]), {}),
            limit,
            on_started=lambda process: self.events.append(process.launch.state),
        )
        super().__init__(setup)
        self.events: list[object] = []

    async def _start(self, stack: contextlib.AsyncExitStack) -> None:
        stack.callback(self.events.append, "taken away")
        variables = pt_environment.client(["obfs3"], state=b"/", proxy=None)
        await self._run(stack, variables)


async def test_it_is_ready_in_its_block_and_gone_behind_it(bench: Bench) -> None:
    bench.pt.play(*CLIENT)
    async with Plain(bench) as pt:
        assert pt.launch.state is State.READY
        assert not pt.is_ending()
        assert len(pt.events) == 1
        assert pt.events[0] is not State.READY
    assert pt.events[1:] == ["taken away"]
    assert pt.is_ending()
    assert bench.pt.is_gone()


async def test_its_end_is_waited_for(bench: Bench) -> None:
    bench.pt.play(*CLIENT, "exit 7")
    async with Plain(bench) as pt:
        assert str(await pt.wait()) == "obfs4proxy ended with exit code 7"


@pytest.mark.parametrize(
    ("steps", "limit", "kind"),
    [(["exit 1"], DEADLINE, PtExitedBeforeReady), ([], 0.1, PtStartTimeout)],
)
async def test_of_one_that_does_not_get_ready_nothing_is_left(
    bench: Bench, steps: list[str], limit: float, kind: type[Exception]
) -> None:
    bench.pt.play("tell here", *steps)
    pt = Plain(bench, limit=limit)
    with pytest.raises(kind):
        async with pt:
            raise AssertionError("it is ready")
    assert pt.events[-1] == "taken away"
    assert bench.pt.is_gone()
