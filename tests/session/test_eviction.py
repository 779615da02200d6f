"""Which idle connections are closed where too many are open, and when."""

from __future__ import annotations

from pt_bridge.session.eviction import MOST_EXCESS, PATIENCE, IdleEviction
from tests.support.clock import Clock

MOMENT = 0.1


class Place:
    """A place for so many connections, each of which is a name."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.clock = Clock()
        self.open: list[str] = []
        self.idle: IdleEviction[str] = IdleEviction(
            self.clock.as_loop,
            self.open.remove,
            excess=lambda: len(self.open) - self.room,
        )

    def enter(self, *names: str) -> None:
        """Open connections that carry nothing, a moment after each other."""
        for name in names:
            self.open.append(name)
            self.idle.add(name)
            self.clock.pass_by(MOMENT)


def test_as_long_as_there_is_room_nobody_goes() -> None:
    place = Place(3)
    place.enter("a", "b", "c")
    place.clock.pass_by(60)
    assert place.open == ["a", "b", "c"]


def test_the_longest_silent_goes_first_and_no_more_than_must() -> None:
    place = Place(2)
    place.enter("a", "b")
    place.clock.pass_by(PATIENCE)
    place.enter("c")
    assert place.open == ["b", "c"]


def test_who_is_not_silent_for_long_is_waited_for() -> None:
    """A client's first bytes may be under way."""
    place = Place(1)
    place.enter("a", "b", "c")
    place.clock.pass_by(PATIENCE - 4 * MOMENT)
    assert place.open == ["a", "b", "c"]
    place.clock.pass_by(MOMENT)
    assert place.open == ["b", "c"]
    place.clock.pass_by(MOMENT)
    assert place.open == ["c"]
    place.clock.pass_by(60)
    assert place.open == ["c"]


def test_where_far_too_many_come_nobody_is_waited_for() -> None:
    """The PT must not come to its own limit."""
    place = Place(1)
    names = [str(each) for each in range(MOST_EXCESS + 3)]
    for name in names:
        place.open.append(name)
        place.idle.add(name)
    assert place.open == names[2:]
    place.clock.pass_by(PATIENCE)
    assert place.open == names[-1:]


def test_who_carries_something_stays_and_is_the_last_once_silent_again() -> None:
    place = Place(2)
    place.enter("a", "b")
    place.idle.discard("a")
    place.clock.pass_by(PATIENCE)
    place.idle.add("a")
    place.enter("c")
    assert place.open == ["a", "c"]


def test_where_nobody_is_silent_nobody_goes_until_somebody_is() -> None:
    place = Place(1)
    place.enter("a", "b")
    for name in "ab":
        place.idle.discard(name)
    place.clock.pass_by(60)
    assert place.open == ["a", "b"]
    assert not place.idle.evict_one()
    place.idle.add("b")
    place.clock.pass_by(2 * PATIENCE)
    assert place.open == ["a"]


def test_one_can_be_asked_to_go_though_there_is_room() -> None:
    """Where something else is short than the number of connections."""
    place = Place(9)
    place.enter("a", "b")
    assert not place.idle.evict_one()
    place.clock.pass_by(PATIENCE)
    assert place.idle.evict_one()
    assert place.open == ["b"]


def test_after_a_stop_nobody_goes() -> None:
    place = Place(0)
    place.enter("a")
    place.idle.stop()
    place.idle.stop()
    place.clock.pass_by(60)
    assert place.open == ["a"]
