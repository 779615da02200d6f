"""One dialling of the server: whoever waits is told of its end, whatever that is."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from pt_bridge.bridge.dials import Dials
from pt_bridge.bridge.server_dial import ServerDial
from pt_bridge.errors import ConnectRefused
from pt_bridge.net.time_limit import TimeLimit
from pt_bridge.protocol.address import Address
from pt_bridge.ways.addresses import Place
from tests.support.clock import ClockedLoop
from tests.support.tcp import closing, pair

if TYPE_CHECKING:
    import socket

    from pt_bridge.net.dialling import Dialling
    from pt_bridge.ways.addresses import OnReached

SLOW = 10.0
WAY = Place(1, "obfs4", Address("192.0.2.1", 443), b"")


class Rig:
    """A bridge, as a dial knows it, and the one dial that it makes."""

    def __init__(self) -> None:
        self.clock = ClockedLoop(asyncio.get_running_loop())
        self.told: list[object] = []
        self.dials = Dials(lambda: self.told.append("ended"))
        self.slow: list[bool] = []
        self.gives_up_at = 0
        self.was_cancelled = False
        self.bug: Exception | None = None
        self.whom: list[OnReached] = []
        self.dial = ServerDial(
            *(self, None, self.on_dialled),
            dials=self.dials,
            began=0.0,
            slow=TimeLimit(self.clock.as_loop, SLOW),
        )

    def begin(self) -> None:
        self.dial.begin(self.start)

    def start(self, on_reached: OnReached) -> Dialling:
        if self.bug is not None:
            raise self.bug
        self.whom.append(on_reached)
        return self

    def cancel(self) -> None:
        self.was_cancelled = True

    def on_dialled(
        self, got: socket.socket | Exception | None, way: object = None
    ) -> None:
        assert not self.dials
        self.told.append((got, way))

    def on_dial_slow(self, dial: ServerDial) -> None:
        assert dial is self.dial
        self.slow.append(dial.is_known_slow)
        if len(self.slow) == self.gives_up_at:
            dial.cancel()

    def judge(
        self, dial: ServerDial, got: socket.socket | Exception, way: Place
    ) -> socket.socket | Exception | None:
        assert (dial, way) == (self.dial, WAY)
        if isinstance(got, KeyError):
            raise got
        return got


async def test_what_was_reached_goes_to_whoever_waits() -> None:
    """And behind that, that a dialling has ended."""
    r = Rig()
    ours, theirs = pair()
    with closing((ours, theirs)):
        r.begin()
        assert len(r.dials) == 1
        r.whom[0](ours, WAY)
        assert r.told == [(ours, WAY), "ended"]
        r.dial.cancel()
    assert (len(r.told), r.was_cancelled) == (2, False)


async def test_so_does_why_nothing_was() -> None:
    r = Rig()
    r.begin()
    error = ConnectRefused("no")
    r.whom[0](error, WAY)
    assert r.told == [(error, WAY), "ended"]


async def test_one_that_is_cancelled_is_as_one_whose_pt_has_died() -> None:
    r = Rig()
    r.begin()
    r.dials.cancel()
    assert r.told == [(None, None), "ended"]
    assert r.was_cancelled


async def test_its_owner_is_told_now_and_then_that_nothing_answers() -> None:
    """So that it sees whether anybody still waits; it is said once."""
    r = Rig()
    r.begin()
    r.clock.pass_by(SLOW)
    r.clock.pass_by(SLOW)
    assert (r.slow, r.told) == ([False, True], [])
    r.gives_up_at = 3
    for _ in range(3):
        r.clock.pass_by(SLOW)
    assert r.slow == [False, True, True]
    assert r.told == [(None, None), "ended"]


async def test_one_that_has_ended_is_not_slow() -> None:
    r = Rig()
    r.begin()
    r.dial.cancel()
    r.clock.pass_by(SLOW)
    assert not r.slow


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_bug_costs_one_connection(
    caplog: pytest.LogCaptureFixture, *, at_once: bool
) -> None:
    r = Rig()
    if at_once:
        r.bug = KeyError()
        r.begin()
    else:
        r.begin()
        r.whom[0](KeyError(), WAY)
    assert r.told[0] == (None, None if at_once else WAY)
    assert "a bug ended a connection" in caplog.text
