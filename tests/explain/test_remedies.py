"""What to try next."""

from __future__ import annotations

import errno

import pytest

from pt_bridge.errors import (
    ArgumentsRejected,
    ConnectRefused,
    HungUp,
    LoginRefused,
    OptionsError,
    SpeaksOtherwise,
    Unanswered,
    Unreached,
    Unresolved,
)
from pt_bridge.explain.reasons import REFUSALS
from pt_bridge.explain.remedies import (
    REFUSAL_ADVICE,
    advise,
    advise_on_plugin,
    advise_on_refusal,
)
from pt_bridge.protocol.frames import Cause

ADVICE = [
    (LoginRefused(""), "upstream-proxy="),
    (ArgumentsRejected(""), "client-options.txt"),
    (Unresolved(""), "resolver"),
    (Unreached("", errno.ECONNREFUSED), "on the server"),
    (Unreached("", errno.ETIMEDOUT), "firewall"),
    (HungUp("", was_reset=True), "another network"),
    (HungUp("", was_reset=False), "client-options.txt"),
    (SpeaksOtherwise(""), "client-options.txt"),
    (Unanswered(""), "client-options.txt"),
    (ConnectRefused(""), "client-options.txt"),
    (TimeoutError(), "client-options.txt"),
]


@pytest.mark.parametrize(
    ("error", "words"), ADVICE, ids=lambda value: type(value).__name__
)
def test_there_is_something_to_try_next(error: Exception, words: str) -> None:
    """Whatever went wrong, somebody has to begin somewhere."""
    assert words in advise(error)


@pytest.mark.parametrize("error", [ConnectionRefusedError(), OptionsError("set it")])
def test_nothing_is_added_to_a_sentence_that_says_what_to_do(error: Exception) -> None:
    assert advise(error) == ""


def test_what_stands_between_is_looked_at_first() -> None:
    assert "upstream proxy" in advise(ConnectRefused(""), proxy=True)
    assert "clock" in advise(ConnectRefused(""), clock=False)
    assert "clock" not in advise(ConnectRefused(""), clock=True)


def test_a_plugin_outside_the_pt_is_looked_at_last() -> None:
    assert advise_on_plugin("").startswith("see that the server has the other side")
    assert advise_on_plugin("do it").startswith("do it; see that the server has")


def test_whatever_a_server_refuses_there_is_something_to_do() -> None:
    assert REFUSALS.keys() == REFUSAL_ADVICE.keys()
    for cause in REFUSALS:
        assert advise_on_refusal(cause) == REFUSAL_ADVICE[cause]
    for cause in (Cause.CUT, Cause.SEEN, Cause.UNKNOWN):
        assert "log" in advise_on_refusal(cause)
