"""What is a usual time for ACCEPT, and what is too long."""

from __future__ import annotations

import pytest

from pt_bridge.pool.accept_times import (
    FIRST_WAIT,
    LEAST,
    SHORTEST,
    TIMES,
    AcceptTimes,
    wait_before,
)


@pytest.mark.parametrize(
    ("took", "handshake", "limit"),
    [
        ([], 0.1, LEAST),
        ([], 1.5, 1.5 * TIMES),  # a slow path: no second connection for nothing
        ([0.01], 1.5, LEAST),
        ([0.5], 0.1, 0.5 * TIMES),
        ([2.0] * 3, 0.1, 2.0 * TIMES),
    ],
)
def test_late_is_a_second_or_four_times_the_usual(
    took: list[float], handshake: float, limit: float
) -> None:
    times = AcceptTimes()
    for seconds in took:
        times.took(seconds)
    assert times.late_after(handshake) == limit


def test_one_slow_stream_does_not_make_slowness_usual() -> None:
    times = AcceptTimes()
    times.took(0.1)
    times.took(5.0)
    assert times.usual is not None
    assert 0.1 < times.usual < 1.0
    for _ in range(60):
        times.took(5.0)
    assert times.usual == pytest.approx(5.0, rel=0.01)


def test_waits_double_and_are_not_in_step() -> None:
    for attempt in (1, 2, 3):
        longest = FIRST_WAIT * 2 ** (attempt - 1)
        assert wait_before(attempt, 1.0) == longest
        assert wait_before(attempt, 0.0) == longest * SHORTEST
