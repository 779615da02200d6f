"""How far a tor has come with its start, from what it tells (control-spec 4.1.10).

::

    STATUS_CLIENT NOTICE BOOTSTRAP PROGRESS=10 TAG=conn_done SUMMARY="..."
    STATUS_CLIENT WARN BOOTSTRAP PROGRESS=14 TAG=handshake ... REASON=IDENTITY
    STATUS_GENERAL WARN CLOCK_SKEW SKEW=-172779 SOURCE=CONSENSUS

Seen with tor 0.4.9 and a bridge behind obfs4proxy: 2 % says that the PT took the
connection, 10 % that the other PT let it in, 14 % that a tor answers behind that, and
15 % that it is the one whose fingerprint the bridge line has.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

# In percent, as tor's own tags have it since 0.4.
PT_TOOK_IT, LET_IN, RELAY_ANSWERED, IDENTIFIED = 2, 10, 14, 15
HAS_CONSENSUS, HAS_DIRECTORY, DONE = 45, 75, 100
WRONG_IDENTITY = "IDENTITY"
# tor takes a consensus for so much longer than it is valid.
REASONABLY_LIVE = timedelta(hours=24)
TIME_FORMAT = "%Y-%m-%d %H:%M:%S"
NUMBER = re.compile(r"-?[0-9]{1,12}")


class Bootstrap:
    """How far a tor has come.

    Attributes:
        progress: in percent.
        summary: what it is about to do, in its own words.
        problem: what is wrong, in its own words, or "".
        reason: the same as one of its keywords, or "".
        failures: how often it told of a problem.
        skew: how many seconds its clock is ahead of others', if it is wrong; negative
            where it is behind; else 0.
    """

    def __init__(self) -> None:
        self.progress = 0
        self.summary = ""
        self.problem = ""
        self.reason = ""
        self.failures = 0
        self.skew = 0

    def on_status(self, action: str, arguments: Mapping[str, str]) -> None:
        """Take what tor tells of its status.

        Args:
            action: what it is about, BOOTSTRAP or CLOCK_SKEW.
            arguments: what it says of that, by their keywords.
        """
        if action == "BOOTSTRAP":
            self.progress = max(self.progress, _number(arguments.get("PROGRESS", "")))
            self.summary = arguments.get("SUMMARY", "")
            self.problem = arguments.get("WARNING", "")
            self.reason = arguments.get("REASON", "")
            self.failures += bool(self.problem)
        elif action == "CLOCK_SKEW":
            self.skew = _number(arguments.get("SKEW", ""))

    @property
    def has_wrong_identity(self) -> bool:
        """Whether another relay answered than the one whose fingerprint we have."""
        return self.reason == WRONG_IDENTITY and self.progress < IDENTIFIED


def _number(text: str) -> int:
    return int(text) if NUMBER.fullmatch(text) else 0


def clock_error(valid_after: str, valid_until: str, now: datetime) -> int:
    """Return how wrong a clock must be, by the consensus that tor was given.

    Args:
        valid_after: since when that is valid, in UTC, as tor writes it.
        valid_until: until when.
        now: what the clock says, with its time zone.

    Returns:
        Seconds, negative where the clock is behind; 0 where it may be right.
    """
    try:
        since, until = (
            datetime.strptime(text, TIME_FORMAT).replace(tzinfo=UTC)
            for text in (valid_after, valid_until)
        )
    except ValueError:  # tor has none yet
        return 0
    if now < since:
        return -round((since - now).total_seconds())
    if now > until + REASONABLY_LIVE:
        return round((now - until).total_seconds())
    return 0


def duration(seconds: int) -> str:
    """Write a number of seconds for people, roughly."""
    seconds = abs(seconds)
    for unit, size in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= size:
            number = round(seconds / size)
            return f"{number} {unit}{'s' * (number != 1)}"
    return f"{seconds} s"
