"""What is started step by step, and taken down."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pt_bridge.system.started import Started

if TYPE_CHECKING:
    import contextlib


class Steps(Started):
    """Two steps, and an error behind them, if that is wanted."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__()
        self.undone: list[int] = []
        self._error = error

    async def _start(self, stack: contextlib.AsyncExitStack) -> None:
        for step in 1, 2:
            stack.callback(self.undone.append, step)
        if self._error is not None:
            raise self._error


async def test_its_steps_stand_while_the_block_lasts_and_are_undone_backwards() -> None:
    async with Steps() as steps:
        assert steps.undone == []
    assert steps.undone == [2, 1]


async def test_where_a_step_fails_those_before_it_are_undone() -> None:
    steps = Steps(OSError("no"))
    with pytest.raises(OSError, match="no"):
        async with steps:
            pytest.fail("it has not started")
    assert steps.undone == [2, 1]


async def test_what_was_never_started_can_be_left() -> None:
    steps = Steps()
    await steps.__aexit__(None, None, None)
    assert steps.undone == []


async def test_whoever_has_no_steps_has_forgotten_them() -> None:
    with pytest.raises(NotImplementedError):
        async with Started():
            pytest.fail("it has not started")
