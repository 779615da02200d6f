"""How often a peer may say what carries nothing."""

from __future__ import annotations

from pt_bridge.session.peer_limits import (
    MAX_IDLE_FRAMES,
    MAX_OPENS,
    WINDOW,
    PeerLimits,
)


def test_so_many_idle_frames_may_come_in_a_window() -> None:
    limits = PeerLimits()
    assert not any(limits.idle_frame(5.0) for _ in range(MAX_IDLE_FRAMES))
    assert limits.idle_frame(5.0 + WINDOW / 2)


def test_the_next_window_begins_anew() -> None:
    limits = PeerLimits()
    for number in range(10):
        now = 5.0 + number * WINDOW
        assert not any(limits.idle_frame(now) for _ in range(MAX_IDLE_FRAMES))


def test_streams_beyond_the_limit_wait_for_the_window_to_end() -> None:
    limits = PeerLimits()
    assert not any(limits.stream(5.0) for _ in range(MAX_OPENS))
    assert limits.stream(5.0 + WINDOW / 4) == WINDOW * 3 / 4
    assert limits.stream(5.0 + WINDOW) == 0


def test_one_kind_does_not_count_for_the_other() -> None:
    limits = PeerLimits()
    for _ in range(MAX_OPENS):
        limits.stream(5.0)
    assert not limits.idle_frame(5.0)
