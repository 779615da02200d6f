"""Looking at a connection with an open stream; `test_connection` has the real ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from pt_bridge.session.silence import SOON, UNANSWERED_LIMIT, USUAL
from pt_bridge.session.watch import REACHING_BEAT, RESET_LIMIT, Watch
from tests.support.clock import Clock

if TYPE_CHECKING:
    from pt_bridge.session.connection import SessionConnection


class Watched:
    """What a watch sees of a connection, and of the stream on it."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.can_send = self.is_reading = self.is_client = True
        self.is_accepted = self.is_closed = self.reset_sent = False
        self.session = self
        self.stream: Watched | None = self
        self.limit = float("inf")
        self.beats = 0
        self.why = ""
        self.watch = Watch(
            self.clock.as_loop,
            cast("SessionConnection", self),
        )

    def say_beat(self) -> None:
        """Count it."""
        self.beats += 1

    def close(self, why: str) -> None:
        """Be closed."""
        self.is_closed, self.why = True, why
        self.watch.stop()

    def check_limits(self, now: float) -> float:
        """Have no limit, or end."""
        if now >= self.limit:
            self.stream = None
        return self.limit - now

    def hear_all_the_time(self, seconds: float) -> None:
        """Let time pass, in which the peer's BEATs come."""
        for _ in range(int(seconds)):
            self.watch.heard(self.clock.now, is_beat=True)
            self.clock.pass_by(1)


@pytest.fixture
def watched() -> Watched:
    """Create one that has a stream."""
    watched = Watched()
    watched.watch.begin(0.0, float("inf"))
    return watched


def test_beat_is_said_once_a_minute_at_most(watched: Watched) -> None:
    watched.hear_all_the_time(10 * USUAL)
    assert 9 <= watched.beats <= 13
    assert not watched.is_closed


def test_a_peer_that_does_not_answer_is_gone_after_a_while(watched: Watched) -> None:
    watched.watch.said(0.0)
    for _ in range(int(UNANSWERED_LIMIT) - 1):
        watched.clock.pass_by(1)
    assert not watched.is_closed
    assert watched.beats >= 3, "nothing that a PT could notice a dead wire by"
    watched.clock.pass_by(SOON)
    assert watched.why == "the peer has said nothing for too long"
    assert (
        watched.clock.appointments == [] or watched.clock.appointments[-1].is_cancelled
    )


def test_a_server_says_that_it_is_there_while_it_reaches_its_service(
    watched: Watched,
) -> None:
    watched.is_client = False
    watched.watch.begin(0.0, REACHING_BEAT)
    for _ in range(5):
        watched.clock.pass_by(REACHING_BEAT)
    assert watched.beats == 5


def test_no_beat_is_said_behind_a_backlog(watched: Watched) -> None:
    watched.can_send = False
    watched.hear_all_the_time(3 * USUAL)
    assert watched.beats == 0
    watched.can_send = True
    watched.hear_all_the_time(2 * SOON)
    assert watched.beats == 1


def test_accept_has_its_time_and_more_where_anything_is_heard(
    watched: Watched,
) -> None:
    watched.watch.begin(0.0, float("inf"), accept=3.0)
    assert watched.watch.is_accept_awaited
    watched.clock.pass_by(3)
    assert watched.why == "no ACCEPT in time"
    other = Watched()
    other.watch.begin(0.0, float("inf"), accept=3.0)
    other.clock.pass_by(2)
    other.watch.heard(other.clock.now, is_beat=True)
    other.clock.pass_by(2)
    assert not other.is_closed
    other.watch.on_answered()
    assert not other.watch.is_accept_awaited
    other.hear_all_the_time(2 * UNANSWERED_LIMIT)
    assert not other.is_closed


def test_a_reset_that_is_never_answered_ends_the_connection(watched: Watched) -> None:
    watched.reset_sent = True
    watched.hear_all_the_time(RESET_LIMIT + 2 * SOON)
    assert watched.why == "no answer to RESET in time"


def test_a_streams_own_limit_is_looked_at_in_time(watched: Watched) -> None:
    watched.limit = 2.5
    watched.watch.begin(0.0, 2.5)
    watched.clock.pass_by(2.5)
    assert watched.stream is None
    assert all(each.is_cancelled for each in watched.clock.appointments)


def test_a_stopped_watch_looks_at_nothing(watched: Watched) -> None:
    watched.watch.stop()
    watched.watch.stop()
    watched.clock.pass_by(1000)
    assert not watched.beats
    assert not watched.is_closed
