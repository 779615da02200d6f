"""A PT that lives and accepts nothing is noticed, and no other one."""

from __future__ import annotations

import pytest

from pt_bridge.front.accept_watch import LOOK_INTERVAL, LOOKS
from tests.support.fronts import HELLO, Rig, rig
from tests.support.tcp import turn_until

pytestmark = pytest.mark.usefixtures("every_pump")

LONG = LOOK_INTERVAL * (LOOKS + 1)


def watched(r: Rig) -> list[str]:
    """Open a front, and return what is told of its PT."""
    told: list[str] = []
    r.open(on_stuck=lambda: told.append("stuck"))
    return told


async def begins(r: Rig, data: bytes = b"") -> None:
    """Act as a client whom the front has connected to the PT's port."""
    number = len(r.fronted.connections)
    await r.connect(data)
    await turn_until(lambda: len(r.fronted.connections) > number)


@pytest.mark.parametrize("data", [b"", HELLO])
async def test_one_that_accepts_nothing_is_told_of_once(data: bytes) -> None:
    """Whatever its client has said."""
    with rig(is_open=False) as r:
        told = watched(r)
        await begins(r, data)
        r.clock.pass_by(LOOK_INTERVAL)
        r.clock.pass_by(LOOK_INTERVAL)
        assert told == []
        r.clock.pass_by(LOOK_INTERVAL)
        assert told == ["stuck"]
        r.clock.pass_by(LONG)
        assert told == ["stuck"]


async def test_one_that_has_accepted_all_is_not_asked_again() -> None:
    """Silent clients say nothing about it, nor do many of them."""
    with rig(is_open=False) as r:
        told = watched(r)
        for _ in range(3):
            await begins(r)
            await r.pt.accept()
        for _ in range(5):
            r.clock.pass_by(LOOK_INTERVAL)
        assert told == []
        assert len(r.clock.appointments) == 0


async def test_one_that_stood_still_and_goes_on_is_left_alone() -> None:
    """It accepts in order, and the look begins anew with whoever is the newest then."""
    with rig(is_open=False) as r:
        told = watched(r)
        await begins(r)
        r.clock.pass_by(LOOK_INTERVAL)
        r.clock.pass_by(LOOK_INTERVAL)
        await r.pt.accept()
        await begins(r)
        r.clock.pass_by(LOOK_INTERVAL)
        r.clock.pass_by(LOOK_INTERVAL)
        assert told == []
        r.clock.pass_by(LOOK_INTERVAL)
        assert told == ["stuck"]


async def test_one_that_has_died_is_not_called_stuck() -> None:
    """Others are told of that."""
    with rig(is_open=False) as r:
        told = watched(r)
        await begins(r)
        r.pt.is_dead = True
        for _ in range(5):
            r.clock.pass_by(LOOK_INTERVAL)
        assert told == []
        r.pt.is_dead = False


async def test_nobody_looks_while_there_is_no_pt_nor_behind_the_end() -> None:
    """A front that is suspended, or closed, has no timer."""
    with rig(is_open=False) as r:
        told = watched(r)
        await begins(r)
        assert len(r.clock.appointments) > 0
        r.front.suspend()
        r.clock.pass_by(LONG)
        assert told == []
        r.restart()
        told = watched(r)
        await begins(r)
    assert told == []
