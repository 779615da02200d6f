"""When a PT that died is started again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pt_bridge.pt.backoff import CAP, FIRST, STABLE, Backoff

CHANCES = st.floats(0, 1)


def waits(restarts: int, chance: float) -> list[float | None]:
    record = Backoff(restarts)
    return [
        record.after_death(lived=0, chance=chance) for _ in range(min(restarts, 50))
    ]


def test_the_waits_double() -> None:
    """The first is at least 100 ms."""
    assert waits(5, 0.0) == [0.1, 0.2, 0.4, 0.8, 1.6]


@given(st.integers(1, 1000), CHANCES)
def test_no_wait_is_shorter_than_the_first_nor_longer_than_twice_the_cap(
    restarts: int, chance: float
) -> None:
    """Capped, jittered."""
    for wait in waits(restarts, chance):
        assert wait is not None
        assert FIRST <= wait <= 2 * CAP


def test_the_waits_are_drawn_from_a_range() -> None:
    """Those that died of one cause do not come back in step."""
    assert waits(3, 0.0) != waits(3, 0.5) != waits(3, 1.0)


def test_a_pt_that_keeps_dying_is_given_up() -> None:
    """After so many deaths without a stable minute between."""
    record = Backoff(2)
    for _ in range(2):
        assert record.after_death(lived=STABLE - 0.1, chance=0) is not None
    assert record.after_death(lived=STABLE - 0.1, chance=0) is None
    assert record.deaths == 3


def test_a_stable_time_clears_the_record() -> None:
    record = Backoff(1)
    for _ in range(10):
        assert record.after_death(lived=STABLE, chance=0) == FIRST
    assert record.after_death(lived=0, chance=0) is None


def test_without_restarts_the_first_death_is_the_last() -> None:
    """SIP003 to the letter."""
    assert Backoff(0).after_death(lived=10 * STABLE, chance=0) is None
