"""What comes into the log of what happens again and again."""

from __future__ import annotations

from pt_bridge.system.rate_limit import INTERVAL, LineRation, RateLimit


def test_complaints_come_once_in_a_while_and_count_what_they_held_back() -> None:
    """ER-13: a dead server must not fill the log."""
    complaints = RateLimit(interval=30)
    assert complaints.admit("a", now=1000) == "a"
    assert complaints.admit("b", now=1000) is None
    assert complaints.admit("c", now=1029.9) is None
    told = "d (2 more failed since the last such line)"
    assert complaints.admit("d", now=1030) == told
    assert complaints.admit("e", now=1059) is None
    assert complaints.admit("f", now=2000).startswith("f (1 more")  # type: ignore[union-attr]
    assert complaints.admit("g", now=3000) == "g"


def test_the_first_complaint_is_told_whatever_the_clock_says() -> None:
    """ER-13: the loop's clock may begin anywhere."""
    assert RateLimit().admit("a", now=0.0) == "a"
    assert RateLimit().admit("a", now=-INTERVAL) == "a"


def test_a_burst_is_let_through_and_then_one_now_and_then() -> None:
    """SE-10: what is held back is counted, and told with the next that is not."""
    ration = LineRation(burst=3, per_second=0.5)
    now = 1000.0
    assert [ration.admit(now) for _ in range(5)] == [0, 0, 0, None, None]
    assert ration.admit(now + 1.9) is None
    assert ration.admit(now + 2) == 3
    assert ration.admit(now + 2) is None


def test_who_was_quiet_has_no_more_than_a_burst() -> None:
    """SE-10: not what a whole day would have been."""
    ration = LineRation(burst=2, per_second=1)
    assert ration.admit(0.0) == 0
    admitted = [ration.admit(86_400.0) for _ in range(4)]
    assert admitted == [0, 0, None, None]
