"""The order of the ways, and how long those that failed rest."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pt_bridge.ways.selection import (
    FIRST_REST,
    LONGEST_REST,
    Selection,
)

WAYS = ("first", "second", "third")


def test_they_are_tried_in_the_order_given_and_the_last_that_worked_first() -> None:
    """FE-17."""
    ways = Selection()
    assert ways.order(WAYS, 0.0) == ["first", "second", "third"]
    assert ways.worked("second")
    assert not ways.worked("second")
    assert ways.order(WAYS, 0.0) == ["second", "first", "third"]
    assert ways.order(WAYS, 0.0, avoid="second") == ["first", "third", "second"]


def test_one_that_failed_rests_behind_the_others_and_comes_back() -> None:
    ways = Selection()
    ways.failed("first", "no answer in time", 0.0, 1.0)
    assert ways.order(WAYS, FIRST_REST - 1) == ["second", "third", "first"]
    assert ways.order(WAYS, FIRST_REST) == ["first", "second", "third"]
    ways.worked("third")
    assert ways.order(WAYS, FIRST_REST) == ["third", "first", "second"]


def test_where_all_rest_the_one_that_has_rested_most_is_tried_first() -> None:
    ways = Selection()
    for number, way in enumerate(("third", "first", "second")):
        ways.failed(way, "refused", float(number), 0.5)
    assert ways.order(WAYS, 3.0) == ["third", "first", "second"]


def test_rests_double_up_to_ten_minutes_and_begin_anew_once_it_worked() -> None:
    ways, now = Selection(), 0.0
    rests = []
    for _ in range(8):
        ways.failed("first", "refused", now, 1.0)
        record = ways.record("first")
        assert record is not None
        rests.append(record.rests_until - now)
        now = record.rests_until
        assert record.failures == len(rests)
    assert rests == [30.0, 60.0, 120.0, 240.0, 480.0, 600.0, 600.0, 600.0]
    ways.worked("first")
    assert ways.record("first") is None


def test_what_fails_while_it_rests_is_the_same_fault() -> None:
    ways = Selection()
    ways.failed("first", "refused", 0.0, 1.0)
    ways.failed("first", "no answer in time", 1.0, 1.0)
    record = ways.record("first")
    assert record is not None
    assert (record.failures, record.why) == (1, "no answer in time")


def test_addresses_that_a_name_has_no_more_are_forgotten() -> None:
    ways = Selection()
    ways.failed("first", "refused", 0.0, 1.0)
    ways.failed("gone", "refused", 0.0, 1.0)
    ways.keep_only(WAYS)
    assert ways.record("gone") is None
    assert ways.record("first") is not None


@given(
    st.lists(
        st.tuples(
            st.sampled_from(WAYS),
            st.booleans(),
            st.floats(0.0, 1000.0),
            st.floats(0.0, 1.0),
        ),
        max_size=40,
    )
)
def test_every_way_is_always_tried_and_no_rest_is_too_long(
    events: list[tuple[str, bool, float, float]],
) -> None:
    ways, now = Selection(), 0.0
    for way, works, wait, chance in events:
        now += wait
        if works:
            ways.worked(way)
            assert ways.order(WAYS, now)[0] == way
        else:
            ways.failed(way, "refused", now, chance)
            record = ways.record(way)
            assert record is not None
            assert 0 <= record.rests_until - now <= LONGEST_REST
            assert record.rests_until > now or record.failures
        assert sorted(ways.order(WAYS, now)) == sorted(WAYS)
