"""How long a connection may be idle, and the end of a client's."""

from __future__ import annotations

from pt_bridge.session.idle_period import (
    IDLE_LEAST,
    IDLE_MOST,
    LAST_WAIT,
    LAST_WORD,
    SERVER_IDLE,
    ClosingHandshake,
    idle_for,
)
from tests.support.clock import Clock


class Closing:
    """A closing handshake, by a clock that the test moves."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.said: list[str] = []
        self.handshake = ClosingHandshake(
            self.clock.as_loop,
            lambda: self.said.append("BYE"),
            lambda: self.said.append("over"),
        )


def test_bye_is_said_at_once_and_once_more_after_the_answer() -> None:
    """What lyrebird needs: something to write to a side that has gone."""
    closing = Closing()
    assert closing.said == ["BYE"]
    closing.handshake.on_answer()
    assert closing.said == ["BYE"]
    closing.clock.pass_by(LAST_WORD)
    assert closing.said == ["BYE", "BYE"]
    closing.clock.pass_by(LAST_WAIT)
    assert closing.said == ["BYE", "BYE", "over"]


def test_a_server_that_does_not_answer_is_not_waited_for_long() -> None:
    closing = Closing()
    closing.clock.pass_by(LAST_WAIT)
    assert closing.said == ["BYE", "over"]


def test_a_server_that_answers_without_end_puts_nothing_off() -> None:
    closing = Closing()
    for _ in range(round((LAST_WORD + LAST_WAIT) / 0.1) + 1):
        closing.handshake.on_answer()
        closing.clock.pass_by(0.1)
    assert closing.said == ["BYE", "BYE", "over"]


def test_nobody_is_called_after_a_stop() -> None:
    for answered in (False, True):
        closing = Closing()
        if answered:
            closing.handshake.on_answer()
        closing.handshake.stop()
        closing.handshake.stop()
        closing.clock.pass_by(LAST_WORD + LAST_WAIT)
        assert closing.said == ["BYE"]


def test_a_client_keeps_a_connection_by_no_clockwork_and_a_server_for_longer() -> None:
    assert idle_for(0.0, is_client=True) == IDLE_LEAST
    assert idle_for(1.0, is_client=True) == IDLE_MOST < SERVER_IDLE
    assert idle_for(0.5, is_client=False) == SERVER_IDLE
