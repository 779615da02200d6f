"""What failed, counted by its cause and summed up now and then."""

from __future__ import annotations

import errno

import pytest

from pt_bridge.errors import ConnectRefused, HungUp, Unresolved
from pt_bridge.protocol.frames import Cause
from pt_bridge.status.failures import INTERVAL, OTHER, Failures, cause_of


@pytest.mark.parametrize(
    ("failure", "text"),
    [
        (TimeoutError(), "no answer in time"),
        (ConnectRefused("SOCKS reply 1"), "the PT did not reach the server"),
        (Unresolved("no address"), "a name had no address"),
        (ConnectionRefusedError(), "the PT took no connection"),
        (OSError(errno.EMFILE, "x"), "this machine is short of something"),
        (HungUp("x", was_reset=True), OTHER),
        (Cause.REFUSED, "the server's shadowsocks does not listen"),
        (Cause.UNKNOWN, OTHER),
    ],
)
def test_a_failure_has_a_cause_in_a_few_words(
    failure: Exception | Cause, text: str
) -> None:
    assert cause_of(failure) == text


def test_failures_are_summed_up_now_and_then() -> None:
    """SE-10: the first at once, and no line for each."""
    failures = Failures()
    failures.add("late")
    assert failures.summary(0.0) == "late (1)"
    for cause in ("late", "refused", "late"):
        failures.add(cause)
    assert failures.summary(INTERVAL - 1) is None
    assert failures.summary(INTERVAL) == "late (2), refused (1)"
    assert dict(failures.by_cause) == {"late": 3, "refused": 1}
