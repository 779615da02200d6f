"""Each of the six processes is killed (SIGKILL): the other machine hears of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from integration.support.kills import KILLS, Kill, Kills

if TYPE_CHECKING:
    from collections.abc import Callable

    from integration.support.background import Background


@pytest.mark.parametrize("kill", KILLS, ids=str)
def test_the_other_machine_hears_of_the_end_of(
    kills: Background[Kills], kill: Kill, record_property: Callable[[str, object], None]
) -> None:
    killing = kills.result().killings[kill]
    record_property("seconds to the end", killing.seconds)
    print(f"{kill}: {killing.seconds}")  # noqa: T201
    if killing.wrong:
        raise ExceptionGroup(", ".join(killing.wrong), list(killing.wrong.values()))


@pytest.mark.parametrize("kill", KILLS, ids=str)
def test_nothing_is_left_on_the_other_machine_after(
    kills: Background[Kills], kill: Kill
) -> None:
    assert not kills.result().left[kill]
