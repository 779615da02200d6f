"""One timer for all that must not take longer than each other."""

from __future__ import annotations

import pytest

from pt_bridge.net.time_limit import TimeLimit
from tests.support.clock import Clock


class Watched:
    """A limit of ten seconds, and who was late."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.limit = TimeLimit(self.clock.as_loop, 10)
        self.late: list[str] = []

    def start(self, name: str) -> None:
        self.limit.start(name, lambda: self.late.append(name))


def test_each_is_called_back_when_its_own_time_is_over() -> None:
    w = Watched()
    w.start("first")
    w.clock.pass_by(4)
    w.start("second")
    assert w.clock.timers == 1
    w.clock.pass_by(6)
    assert w.late == ["first"]
    w.clock.pass_by(3)
    assert w.late == ["first"]
    w.clock.pass_by(1)
    assert w.late == ["first", "second"]
    assert w.clock.timers == 0


def test_what_is_stopped_in_time_is_not_late() -> None:
    w = Watched()
    w.start("first")
    w.limit.stop("first")
    w.limit.stop("first")
    w.clock.pass_by(10)
    assert (w.late, w.clock.timers) == ([], 0)


def test_the_timer_of_one_that_was_stopped_serves_the_next() -> None:
    """Else each of a thousand in a row would set one, and take it back."""
    w = Watched()
    w.start("first")
    w.limit.stop("first")
    w.clock.pass_by(5)
    w.start("second")
    assert w.clock.timers == 1
    w.clock.pass_by(5)
    assert w.late == []
    w.clock.pass_by(5)
    assert w.late == ["second"]


def test_one_may_stop_another_that_is_late_as_well() -> None:
    w = Watched()
    w.limit.start("first", lambda: w.limit.stop("second"))
    w.start("second")
    w.clock.pass_by(10)
    assert w.late == []


def test_one_may_be_started_again_when_it_is_late() -> None:
    w = Watched()
    w.limit.start("first", lambda: w.start("again"))
    w.clock.pass_by(10)
    w.clock.pass_by(10)
    assert w.late == ["again"]


def test_one_that_begins_when_another_is_late_makes_none_later() -> None:
    w = Watched()
    w.limit.start("first", lambda: w.start("again"))
    w.clock.pass_by(1)
    w.start("second")
    w.clock.pass_by(9)
    w.clock.pass_by(1)
    assert w.late == ["second"]
    w.clock.pass_by(9)
    assert w.late == ["second", "again"]
    assert w.clock.timers == 0


def test_all_may_be_closed_when_one_is_late() -> None:
    w = Watched()
    w.limit.start("first", w.limit.close)
    w.start("second")
    w.clock.pass_by(10)
    assert (w.late, w.clock.timers) == ([], 0)


def test_a_bug_in_one_does_not_keep_the_others_from_being_late() -> None:
    w = Watched()

    def fail() -> None:
        raise KeyError

    w.limit.start("first", fail)
    w.start("second")
    with pytest.raises(KeyError):
        w.clock.pass_by(10)
    w.clock.pass_by(0)
    assert w.late == ["second"]


def test_nothing_is_late_once_it_is_closed() -> None:
    w = Watched()
    w.limit.close()
    w.start("first")
    w.limit.close()
    w.clock.pass_by(10)
    assert (w.late, w.clock.timers) == ([], 0)
