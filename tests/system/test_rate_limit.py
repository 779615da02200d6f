"""What comes into the log of what happens again and again."""

from __future__ import annotations

from pt_bridge.system.rate_limit import INTERVAL, MOST_REASONS, LineRation, RateLimit


def test_complaints_come_once_in_a_while_and_count_what_they_held_back() -> None:
    """ER-13: a dead server must not fill the log."""
    complaints = RateLimit(interval=30)
    assert complaints.admit("a", now=1000) == "a"
    assert complaints.admit("a", now=1000) is None
    assert complaints.admit("a", now=1029.9) is None
    told = "a (2 more failed since the last such line)"
    assert complaints.admit("a", now=1030) == told
    assert complaints.admit("a", now=1059) is None
    assert complaints.admit("a", now=2000).startswith("a (1 more")  # type: ignore[union-attr]
    assert complaints.admit("a", now=3000) == "a"


def test_another_complaint_is_told_at_once_and_not_too_many() -> None:
    """ER-13: what is wrong now may not be what was wrong before."""
    complaints = RateLimit(interval=30)
    assert complaints.admit("a", now=1000) == "a"
    assert complaints.admit("b", now=1001) == "b"
    assert complaints.admit("a", now=1002) is None
    one_more = "(1 more failed since the last such line)"
    assert complaints.admit("c", now=1003) == f"c {one_more}"
    for number in range(MOST_REASONS - 3):
        assert complaints.admit(f"{number}", now=1004)
    assert complaints.admit("d", now=1005) is None
    assert complaints.admit("d", now=1030) == f"d {one_more}"


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
