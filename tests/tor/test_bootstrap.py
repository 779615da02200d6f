"""How far a tor has come, by events that tor 0.4.9 has sent."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pt_bridge.tor.bootstrap import (
    DONE,
    LET_IN,
    Bootstrap,
    clock_error,
    duration,
)

WRONG = {
    "PROGRESS": "14",
    "TAG": "handshake",
    "SUMMARY": "Handshaking with a relay",
    "WARNING": "Unexpected identity in router certificate",
    "REASON": "IDENTITY",
}


def test_it_tells_how_far_it_has_come() -> None:
    bootstrap = Bootstrap()
    bootstrap.on_status(
        "BOOTSTRAP", {"PROGRESS": "10", "TAG": "conn_done", "SUMMARY": "Connected"}
    )
    bootstrap.on_status("CONSENSUS_ARRIVED", {})
    assert (bootstrap.progress, bootstrap.summary) == (LET_IN, "Connected")
    assert (bootstrap.problem, bootstrap.failures) == ("", 0)
    bootstrap.on_status("BOOTSTRAP", {"PROGRESS": "100"})
    assert bootstrap.progress == DONE


def test_another_relay_than_the_lines_is_known() -> None:
    bootstrap = Bootstrap()
    bootstrap.on_status("BOOTSTRAP", WRONG)
    assert bootstrap.has_wrong_identity
    assert bootstrap.problem == "Unexpected identity in router certificate"
    assert bootstrap.failures == 1


def test_another_relay_of_the_network_is_none_of_ours() -> None:
    """It comes later, when the bridge was found right."""
    bootstrap = Bootstrap()
    bootstrap.on_status("BOOTSTRAP", {**WRONG, "PROGRESS": "80"})
    assert not bootstrap.has_wrong_identity


def test_a_wrong_clock_is_known() -> None:
    bootstrap = Bootstrap()
    bootstrap.on_status("CLOCK_SKEW", {"SKEW": "-172779", "SOURCE": "CONSENSUS"})
    assert bootstrap.skew == -172779


@pytest.mark.parametrize("text", ["", "x", "1" * 13, "1.5"])
def test_what_is_no_number_says_nothing(text: str) -> None:
    bootstrap = Bootstrap()
    bootstrap.on_status("BOOTSTRAP", {"PROGRESS": text})
    bootstrap.on_status("CLOCK_SKEW", {"SKEW": text})
    assert (bootstrap.progress, bootstrap.skew) == (0, 0)


@pytest.mark.parametrize(
    ("now", "seconds"),
    [
        (datetime(2026, 11, 26, 10, 30, tzinfo=UTC), 0),
        (datetime(2026, 11, 26, 9, 0, tzinfo=UTC), -3600),
        (datetime(2026, 11, 27, 12, 59, tzinfo=UTC), 0),
        (datetime(2026, 11, 28, 13, 0, tzinfo=UTC), 172_800),
    ],
)
def test_a_clock_is_wrong_by_what_the_consensus_says(
    now: datetime, seconds: int
) -> None:
    """Seen: at two days ahead tor says nothing of it, and stays at 40 %."""
    valid = ("2026-11-26 10:00:00", "2026-11-26 13:00:00")
    assert clock_error(*valid, now) == seconds


def test_without_a_consensus_nobody_knows() -> None:
    assert clock_error("", "", datetime(2026, 11, 26, tzinfo=UTC)) == 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-172_779, "2 days"),
        (86_400, "1 day"),
        (10_765, "3 hours"),
        (61, "1 minute"),
        (5, "5 s"),
    ],
)
def test_a_duration_is_written_for_people(seconds: int, text: str) -> None:
    assert duration(seconds) == text
