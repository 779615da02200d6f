"""How a tunnel ends whose PT is held at both ends: each event in each state."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pt_bridge.protocol.closing import Closing, State, Step, Way

if TYPE_CHECKING:
    from collections.abc import Callable

    from pt_bridge.protocol.closing import Steps

    Event = Callable[[Closing, Way], Steps]

OUT, IN = Way.OUT, Way.IN
OPEN, ENDED, DONE = State.OPEN, State.ENDED, State.DONE


def told(closing: Closing, way: Way) -> Steps:
    """Tell of something that asks for no steps."""
    closing.told(way)
    return []


EVENTS: dict[str, Event] = {
    "ended": lambda closing, way: closing.ended(way, keeps=False),
    "ended, keeps": lambda closing, way: closing.ended(way, keeps=True),
    "told": told,
    "came through": Closing.came_through,
    "exit ended": Closing.exit_ended,
    "sink lost": Closing.sink_lost,
    "pt failed": Closing.pt_failed,
}


def closing_at(
    own: State, other: State, *, own_told: bool, other_told: bool
) -> Closing:
    """Bring OUT and IN, in this order, to where they are to be."""
    closing = Closing()
    for way, state, is_told in ((OUT, own, own_told), (IN, other, other_told)):
        if state is not OPEN:
            closing.ended(way, keeps=False)
        if is_told:
            closing.told(way)
        if state is DONE:
            closing.came_through(way)
    assert (closing.state(OUT), closing.state(IN)) == (own, other)
    return closing


# What is to be done for OUT, and for IN.
TELL, WATCH, END, CUT, CLOSE, RESET = ((step, OUT) for step in Step)
TELL_IN = (Step.TELL, IN)
# The state of OUT before, whether the PT was told of its EOF, the same for IN; the
# event for OUT; the steps; the state of OUT afterwards.
TABLE: list[tuple[State, bool, State, bool, str, Steps, State]] = [
    (OPEN, False, OPEN, False, "ended", [WATCH], ENDED),
    (OPEN, False, OPEN, False, "ended, keeps", [TELL, WATCH], ENDED),
    (OPEN, False, OPEN, False, "told", [], OPEN),
    (OPEN, False, OPEN, False, "came through", [], OPEN),
    (OPEN, False, OPEN, False, "exit ended", [RESET], OPEN),
    (OPEN, False, OPEN, False, "sink lost", [CUT], DONE),
    (OPEN, False, OPEN, False, "pt failed", [RESET], OPEN),
    # The other way has ended, and the PT was not told: it is, once this way is done.
    (OPEN, False, ENDED, False, "ended", [WATCH], ENDED),
    (OPEN, False, ENDED, False, "ended, keeps", [TELL, WATCH], ENDED),
    (OPEN, False, ENDED, False, "came through", [], OPEN),
    (OPEN, False, ENDED, False, "exit ended", [RESET], OPEN),
    (OPEN, False, ENDED, False, "sink lost", [CUT, TELL_IN], DONE),
    (OPEN, False, ENDED, False, "pt failed", [RESET], OPEN),
    # The PT was told of the other way's EOF, and keeps this one.
    (OPEN, False, ENDED, True, "ended", [WATCH], ENDED),
    (OPEN, False, ENDED, True, "ended, keeps", [TELL, WATCH], ENDED),
    (OPEN, False, ENDED, True, "exit ended", [RESET], OPEN),
    (OPEN, False, ENDED, True, "sink lost", [CUT], DONE),
    (OPEN, False, ENDED, True, "pt failed", [RESET], OPEN),
    # Nothing more will come on the other way: the PT may be told at once.
    (OPEN, False, DONE, False, "ended", [TELL, WATCH], ENDED),
    (OPEN, False, DONE, False, "ended, keeps", [TELL, WATCH], ENDED),
    (OPEN, False, DONE, True, "came through", [], OPEN),
    (OPEN, False, DONE, True, "exit ended", [RESET], OPEN),
    (OPEN, False, DONE, True, "sink lost", [CUT, CLOSE], DONE),
    (OPEN, False, DONE, True, "pt failed", [RESET], OPEN),
    (ENDED, False, OPEN, False, "ended", [], ENDED),
    (ENDED, False, OPEN, False, "ended, keeps", [], ENDED),
    (ENDED, False, OPEN, False, "told", [], ENDED),
    (ENDED, False, OPEN, False, "came through", [END], DONE),
    (ENDED, False, OPEN, False, "exit ended", [RESET], ENDED),
    (ENDED, False, OPEN, False, "sink lost", [CUT], DONE),
    (ENDED, False, OPEN, False, "pt failed", [RESET], ENDED),
    # A PT that was told, and ends its exit then, has written everything before.
    (ENDED, True, OPEN, False, "ended", [], ENDED),
    (ENDED, True, OPEN, False, "came through", [END], DONE),
    (ENDED, True, OPEN, False, "exit ended", [END], DONE),
    (ENDED, True, OPEN, False, "sink lost", [CUT], DONE),
    (ENDED, True, OPEN, False, "pt failed", [RESET], ENDED),
    (ENDED, False, ENDED, False, "came through", [END, TELL_IN], DONE),
    (ENDED, False, ENDED, False, "exit ended", [RESET], ENDED),
    (ENDED, False, ENDED, False, "sink lost", [CUT, TELL_IN], DONE),
    (ENDED, False, ENDED, False, "pt failed", [RESET], ENDED),
    (ENDED, True, ENDED, False, "exit ended", [END, TELL_IN], DONE),
    (ENDED, True, ENDED, True, "came through", [END], DONE),
    (ENDED, True, ENDED, True, "exit ended", [END], DONE),
    (ENDED, False, DONE, False, "came through", [END, CLOSE], DONE),
    (ENDED, True, DONE, False, "came through", [END, CLOSE], DONE),
    (ENDED, True, DONE, False, "exit ended", [END, CLOSE], DONE),
    (ENDED, True, DONE, False, "sink lost", [CUT, CLOSE], DONE),
    (ENDED, True, DONE, False, "pt failed", [RESET], ENDED),
    *(
        (DONE, is_told, other, False, event, [], DONE)
        for is_told in (False, True)
        for other in State
        for event in EVENTS
    ),
]


@pytest.mark.parametrize(
    ("own", "own_told", "other", "other_told", "event", "steps", "after"),
    TABLE,
    ids=lambda value: getattr(value, "name", None),
)
def test_each_event_in_each_state_has_its_steps(
    own: State,
    other: State,
    event: str,
    steps: Steps,
    after: State,
    *,
    own_told: bool,
    other_told: bool,
) -> None:
    """Design 3: an EOF is carried around the PT, which learns of it when it may."""
    closing = closing_at(own, other, own_told=own_told, other_told=other_told)
    assert EVENTS[event](closing, OUT) == steps
    assert (closing.state(OUT), closing.state(IN)) == (after, other)


@pytest.mark.parametrize(
    ("own", "own_told", "other", "other_told", "event", "steps", "after"),
    TABLE,
    ids=lambda value: getattr(value, "name", None),
)
def test_the_ways_have_the_same_rules(
    own: State,
    other: State,
    event: str,
    steps: Steps,
    after: State,
    *,
    own_told: bool,
    other_told: bool,
) -> None:
    """Design 3: what is true for the host is true for the Internet."""
    closing = closing_at(other, own, own_told=other_told, other_told=own_told)
    mirrored = [(step, way.other) for step, way in steps]
    assert EVENTS[event](closing, IN) == mirrored
    assert (closing.state(IN), closing.state(OUT)) == (after, other)


def test_a_tunnel_begins_with_both_ways_open() -> None:
    """And nothing of it has been told."""
    closing = Closing()
    assert not closing.has_begun
    for way in Way:
        assert closing.state(way) is OPEN
        assert not closing.is_told(way)


@pytest.mark.parametrize("way", Way)
def test_the_end_begins_with_either_way(way: Way) -> None:
    closing = Closing()
    closing.ended(way, keeps=False)
    assert closing.has_begun


def test_what_the_pt_was_told_is_remembered_for_each_way() -> None:
    closing = Closing()
    closing.told(IN)
    assert (closing.is_told(OUT), closing.is_told(IN)) == (False, True)


# -- whatever the order ----------------------------------------------------------------

HAPPENINGS = st.lists(
    st.tuples(st.sampled_from(sorted({*EVENTS} - {"told"})), st.sampled_from(Way)),
    max_size=30,
)


@given(HAPPENINGS)
def test_whatever_happens_nothing_is_done_twice_or_against_another(
    happenings: list[tuple[str, Way]],
) -> None:
    """Design 3: each step at most once, and a reset is the last word.

    The tunnel does as it is told, and so tells at once what it was asked to tell, and
    hears of nothing more once it has closed or reset its legs.
    """
    closing = Closing()
    done: Steps = []
    for event, way in happenings:
        before = closing.state(way)
        steps = EVENTS[event](closing, way)
        for step, to in steps:
            if step is Step.TELL:
                assert closing.state(to) is not OPEN  # all of it must be fed
                assert not closing.is_told(to)
                closing.told(to)
        done += steps
        assert not steps or before is not DONE
        if {Step.CLOSE, Step.RESET} & {step for step, _ in steps}:
            break
    for step in (Step.TELL, Step.WATCH, Step.END, Step.CUT):
        for way in Way:
            assert done.count((step, way)) <= 1
    for way in Way:
        assert not {(Step.END, way), (Step.CUT, way)} <= set(done)
    ends = [step for step, _ in done if step in (Step.CLOSE, Step.RESET)]
    assert len(ends) <= 1
    are_done = {closing.state(way) for way in Way} == {DONE}
    assert are_done == (ends == [Step.CLOSE])


@given(HAPPENINGS)
def test_a_way_never_goes_back(happenings: list[tuple[str, Way]]) -> None:
    """Open, ended, done, whatever comes late."""
    closing = Closing()
    order = list(State)
    for event, way in happenings:
        before = {each: order.index(closing.state(each)) for each in Way}
        EVENTS[event](closing, way)
        assert all(order.index(closing.state(each)) >= before[each] for each in Way)
        assert closing.state(way.other) is order[before[way.other]]


@given(st.permutations([OUT, IN]), st.booleans())
def test_when_both_have_ended_and_come_through_all_is_closed(
    ways: list[Way],
    keeps: bool,  # noqa: FBT001 - hypothesis gives it
) -> None:
    """Design 3: nothing hangs."""
    closing = Closing()
    for way in ways:
        closing.ended(way, keeps=keeps)
    first, last = ways
    assert (Step.CLOSE, first) not in closing.came_through(first)
    assert closing.came_through(last)[-1] == (Step.CLOSE, last)
