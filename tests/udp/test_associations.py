"""Associations: found again, forgotten after silence, the oldest going first."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pt_bridge.udp.associations import (
    MAX_NEW,
    MOST,
    SILENT_LIMIT,
    WINDOW,
    Associations,
    Numbers,
)


def test_what_was_added_is_found_and_nothing_else() -> None:
    """By its key."""
    table: Associations[str, int] = Associations()
    assert table.add("a", 1, 0.0) is None
    assert table.use("a", 1.0) == 1
    assert table.use("b", 1.0) is None
    assert len(table) == 1
    with pytest.raises(AssertionError):
        table.add("a", 2, 2.0)


def test_who_is_silent_for_five_minutes_is_forgotten() -> None:
    """Counted from the last datagram, whichever way it went."""
    table: Associations[str, int] = Associations()
    table.add("a", 1, 0.0)
    table.add("b", 2, 0.0)
    assert table.use("a", 10.0) == 1
    assert table.expire(SILENT_LIMIT - 1) == []
    assert table.expire(SILENT_LIMIT) == [2]
    assert table.use("b", SILENT_LIMIT) is None
    assert table.expire(SILENT_LIMIT + 10) == [1]
    assert table.expire(SILENT_LIMIT + 10) == []


def test_the_one_that_was_silent_for_longest_goes_first() -> None:
    """Where there are as many as there may be."""
    table: Associations[int, str] = Associations(3)
    for key in range(3):
        assert table.add(key, f"value {key}", float(key)) is None
    table.use(0, 3.0)
    assert table.add(3, "value 3", 4.0) == "value 1"
    assert table.drop_oldest() == "value 2"
    assert table.clear() == ["value 0", "value 3"]
    assert table.drop_oldest() is None
    assert not len(table)


def test_new_ones_are_rationed() -> None:
    """A second later there is room for others."""
    table: Associations[int, int] = Associations()
    assert all(table.admits(5.0) for _ in range(MAX_NEW))
    assert not table.admits(5.0 + WINDOW / 2)
    assert table.admits(5.0 + WINDOW)


def test_a_number_leads_back_to_its_address() -> None:
    """And stays the same."""
    numbers: Numbers[str] = Numbers()
    first, second = numbers.of("a", 0.0), numbers.of("b", 0.0)
    assert first is not None
    assert first != second
    assert numbers.of("a", 1.0) == first
    assert numbers.address(first, 2.0) == "a"
    assert numbers.address(4711, 2.0) is None
    assert len(numbers) == 2


def test_an_answer_keeps_an_address_known() -> None:
    """A download has few datagrams the other way."""
    numbers: Numbers[str] = Numbers()
    number = numbers.of("a", 0.0)
    assert number is not None
    numbers.of("b", 0.0)
    numbers.address(number, SILENT_LIMIT / 2)
    numbers.expire(SILENT_LIMIT)
    assert numbers.address(number, SILENT_LIMIT) == "a"
    assert len(numbers) == 1


def test_the_oldest_address_goes_and_its_number_is_not_given_at_once() -> None:
    """Or an answer for one that has gone would reach another."""
    numbers: Numbers[int] = Numbers()
    given_out = [numbers.of(address, float(address)) for address in range(MOST + 500)]
    assert len(set(given_out)) == len(given_out)
    assert len(numbers) == MOST
    first = given_out[0]
    assert first is not None
    assert numbers.address(first, 9999.0) is None
    assert numbers.of(MOST + 499, 9999.0) == given_out[-1]


def test_too_many_new_addresses_get_no_number() -> None:
    """Those that are known still have theirs."""
    numbers: Numbers[int] = Numbers()
    assert None not in [numbers.of(address, 9.0) for address in range(MAX_NEW)]
    assert numbers.of(MAX_NEW, 9.0) is None
    assert numbers.of(0, 9.0) is not None
    with pytest.raises(AssertionError):
        Numbers(1 << 16)


def test_a_number_in_use_is_passed_over() -> None:
    """When they have all been given out once."""
    numbers: Numbers[object] = Numbers(2)
    kept = numbers.of("kept", 0.0)
    for turn in range(1 << 16):
        now = float(turn)
        assert numbers.of("kept", now) == kept
        assert numbers.of(turn, now) != kept


@given(
    st.integers(1, 4),
    st.lists(
        st.tuples(st.sampled_from("ufe"), st.integers(0, 6), st.integers(0, 200)),
        max_size=60,
    ),
)
def test_numbers_behave_like_a_list_in_the_order_of_use(
    most: int, steps: list[tuple[str, int, int]]
) -> None:
    """Whatever comes: datagrams, answers, time."""
    numbers: Numbers[int] = Numbers(most)
    model: list[list[float]] = []  # address, number, last use; the oldest first
    now = 0.0
    for kind, which, later in steps:
        now += later
        if kind == "u":
            number = numbers.of(which, now)
            assert number is not None
            known = [entry for entry in model if entry[0] == which]
            if known:
                assert number == known[0][1]
            model = [entry for entry in model if entry[0] != which]
            model = model[-(most - 1) :] if most > 1 and not known else model
            model = [] if most == 1 else model
            model.append([which, number, now])
        elif kind == "f" and model:
            entry = model.pop(which % len(model))
            assert numbers.address(int(entry[1]), now) == entry[0]
            model.append([*entry[:2], now])
        else:
            numbers.expire(now)
            model = [entry for entry in model if now - entry[2] < SILENT_LIMIT]
        assert len(numbers) == len(model)
