"""The last moments of a client's connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pt_bridge.session.leave_taking import (
    IDLE_LEAST,
    IDLE_MOST,
    LAST_WAIT,
    LAST_WORD,
    SERVER_IDLE,
    LeaveTaking,
    idle_for,
)
from tests.support.clock import Clock

if TYPE_CHECKING:
    pass


class Leaving:
    """A leave-taking, by a clock that the test moves."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.said: list[str] = []
        self.taking = LeaveTaking(
            self.clock.as_loop,
            lambda: self.said.append("BYE"),
            lambda: self.said.append("over"),
        )


def test_bye_is_said_at_once_and_once_more_after_the_answer() -> None:
    """What lyrebird needs: something to write to a side that has gone."""
    leaving = Leaving()
    assert leaving.said == ["BYE"]
    leaving.taking.on_answer()
    assert leaving.said == ["BYE"]
    leaving.clock.pass_by(LAST_WORD)
    assert leaving.said == ["BYE", "BYE"]
    leaving.clock.pass_by(LAST_WAIT)
    assert leaving.said == ["BYE", "BYE", "over"]


def test_a_server_that_does_not_answer_is_not_waited_for_long() -> None:
    leaving = Leaving()
    leaving.clock.pass_by(LAST_WAIT)
    assert leaving.said == ["BYE", "over"]


def test_a_server_that_answers_without_end_puts_nothing_off() -> None:
    leaving = Leaving()
    for _ in range(round((LAST_WORD + LAST_WAIT) / 0.1) + 1):
        leaving.taking.on_answer()
        leaving.clock.pass_by(0.1)
    assert leaving.said == ["BYE", "BYE", "over"]


def test_nobody_is_called_after_a_stop() -> None:
    for answered in (False, True):
        leaving = Leaving()
        if answered:
            leaving.taking.on_answer()
        leaving.taking.stop()
        leaving.taking.stop()
        leaving.clock.pass_by(LAST_WORD + LAST_WAIT)
        assert leaving.said == ["BYE"]


def test_a_client_keeps_a_connection_by_no_clockwork_and_a_server_for_longer() -> None:
    assert idle_for(0.0, is_client=True) == IDLE_LEAST
    assert idle_for(1.0, is_client=True) == IDLE_MOST < SERVER_IDLE
    assert idle_for(0.5, is_client=False) == SERVER_IDLE
