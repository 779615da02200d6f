"""For how long a stream is dialled for, by a clock that the test moves."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from pt_bridge.pool.redialling import (
    DIAL_AGAIN_FOR,
    FIRST_WAIT,
    LONGEST_WAIT,
    Redialling,
)

if TYPE_CHECKING:
    from pt_bridge.session.stream import Stream

BEGAN = 100.0


def a_stream() -> Stream:
    """Return something to count failures of."""
    return cast("Stream", object())


def test_waits_double_up_to_a_second_and_end_after_three() -> None:
    redialling, stream = Redialling(), a_stream()
    now, waits = BEGAN, []
    while (wait := redialling.wait_for(stream, BEGAN, now)) is not None:
        waits.append(wait)
        now += wait
    assert waits[:4] == [FIRST_WAIT, 2 * FIRST_WAIT, 4 * FIRST_WAIT, 8 * FIRST_WAIT]
    assert max(waits) == LONGEST_WAIT
    assert DIAL_AGAIN_FOR < now - BEGAN <= DIAL_AGAIN_FOR + LONGEST_WAIT


def test_the_time_counts_from_the_first_failure_of_a_stream() -> None:
    redialling, stream, other = Redialling(), a_stream(), a_stream()
    late = BEGAN + DIAL_AGAIN_FOR + 1
    assert redialling.wait_for(stream, BEGAN, BEGAN) == FIRST_WAIT
    assert redialling.wait_for(other, late, late) == FIRST_WAIT
    assert redialling.wait_for(stream, late, late) is None
    assert stream in redialling
    redialling.forget(stream)
    redialling.forget(stream)
    assert (stream in redialling, other in redialling) == (False, True)
    redialling.clear()
    assert other not in redialling
    assert redialling.wait_for(stream, late, late) == FIRST_WAIT
