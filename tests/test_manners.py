"""What is known of a PT's conduct."""

from __future__ import annotations

from tests.played_pt import Process


def test_nothing_is_known_of_a_pt_that_has_shown_nothing() -> None:
    """Closing: so it is told of no end that it could lose something by."""
    process = Process()
    manners = process.manners()
    assert (manners.keeps, manners.tunnels) == (None, 0)
    process.is_ending, process.is_asleep, process.cpu_time = True, False, 2.0
    assert manners.is_ending()
    assert not manners.is_asleep()
    assert manners.cpu_time() == 2.0
