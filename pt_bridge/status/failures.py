"""What failed, and how often: numbers for the status and the log, nobody's address."""

from __future__ import annotations

import errno
from collections import Counter

from pt_bridge.errors import (
    SHORTAGES,
    ArgumentsRejected,
    ConnectRefused,
    LoginRefused,
    Unresolved,
)
from pt_bridge.protocol.frames import Cause

# How often a server's log says how its clients fail (seconds): strangers who look for
# open ports fail all day.
INTERVAL = 600.0
REFUSALS = {
    Cause.REFUSED: "the server's shadowsocks does not listen",
    Cause.UNREACHABLE: "the server's shadowsocks cannot be reached",
    Cause.SILENT: "nothing moved for too long",
    Cause.BUSY: "the server is short of something",
    Cause.UNSUPPORTED: "the server does not know that kind of stream",
}
# What programs say of a connection that was not made.
REPLIES: tuple[tuple[type[Exception], str], ...] = (
    (TimeoutError, "no answer in time"),
    (ArgumentsRejected, "the PT did not take the arguments"),
    (LoginRefused, "the proxy did not take the login"),
    (ConnectRefused, "the PT did not reach the server"),
    (Unresolved, "a name had no address"),
    (ConnectionRefusedError, "the PT took no connection"),
)
OTHER = "something else"


def cause_of(failure: Exception | Cause) -> str:
    """Return, in a few words that name nobody, why a connection failed."""
    if isinstance(failure, Cause):
        return REFUSALS.get(failure, OTHER)
    if isinstance(failure, OSError) and failure.errno in SHORTAGES - {errno.EAGAIN}:
        return "this machine is short of something"
    for kind, text in REPLIES:
        if isinstance(failure, kind):
            return text
    return OTHER


class Failures:
    """Counts what failed by its cause, and sums it up now and then.

    Attributes:
        by_cause: how often each happened.
    """

    def __init__(self, interval: float = INTERVAL) -> None:
        """Create one without a failure.

        Args:
            interval: how often `summary` says something, in seconds.
        """
        self.by_cause: Counter[str] = Counter()
        self._interval = interval
        self._told: Counter[str] = Counter()
        self._told_at: float | None = None

    def add(self, cause: str) -> None:
        """Count a failure."""
        self.by_cause[cause] += 1

    def summary(self, now: float) -> str | None:
        """Return what has failed since this last said something; None for too soon.

        Args:
            now: the time, in seconds of any clock that goes steadily.
        """
        if self._told_at is not None and now - self._told_at < self._interval:
            return None
        news = self.by_cause - self._told
        self._told, self._told_at = self.by_cause.copy(), now
        return describe(news)


def describe(causes: Counter[str]) -> str:
    """Write causes and how often: ``refused (3), late (1)``."""
    return ", ".join(f"{cause} ({number})" for cause, number in causes.most_common())
