"""How long the peer of a PT connection may be silent, and when we have to speak.

A path that is dead looks like one on which nobody has anything to say, and some PTs
find out only when they have to write. So who has a stream open says BEAT now and then,
and whoever hears nothing for long enough takes the peer for gone. Pure: the time is
passed in.
"""

from __future__ import annotations

from typing import NamedTuple

# Say BEAT after so much silence of our own (seconds): usually, and where the peer may
# be waiting for a sign of life, or we are.
USUAL, SOON = 60.0, 10.0
# What was sent and has had no answer for so long is waited for (seconds).
WAITS_AFTER = 15.0
# Without a byte for so long the peer is gone (seconds), counted from the first byte
# that had no answer, or from the last one that came. TCP sends again after 25 and after
# 51 s, and the peer may have put its answer off by `SOON` before the wire went dead: so
# an outage of 45 s is survived.
UNANSWERED_LIMIT, SILENT_LIMIT = 65.0, 300.0
# No two clocks of ours go together: each wait is between so much of it and all of it.
SHORTEST = 0.8


class Verdict(NamedTuple):
    """What is to be done now.

    Attributes:
        is_gone: whether the peer is to be taken for gone.
        must_beat: whether a BEAT is due.
        wait: when to ask again, in seconds from now.
    """

    is_gone: bool
    must_beat: bool
    wait: float


class Silence:
    """What was last said and heard on one connection, in seconds of a steady clock."""

    __slots__ = ("_heard", "_owes", "_said", "_unanswered")

    def __init__(self, now: float) -> None:
        """Begin to count."""
        self._heard = self._said = now
        self._unanswered: float | None = None
        self._owes = False

    def said(self, now: float) -> None:
        """Take note that something other than BEAT was sent."""
        self._said = now
        self._owes = False
        if self._unanswered is None:
            self._unanswered = now

    def beat(self, now: float) -> None:
        """Take note that BEAT was sent."""
        self._said = now
        self._owes = False

    def heard(self, now: float, *, is_beat: bool) -> None:
        """Take note that something came.

        Args:
            now: the time.
            is_beat: whether it was no more than BEAT, which is owed no answer.
        """
        self._heard = now
        self._unanswered = None
        if not is_beat:
            self._owes = True

    def verdict(self, now: float, *, is_reading: bool, chance: float) -> Verdict:
        """Return what is to be done.

        Args:
            now: the time.
            is_reading: whether we read what comes: while our local side is slow we do
                not, and nothing can be concluded.
            chance: a random number from 0 to 1.
        """
        if not is_reading:
            self._heard = now
            if self._unanswered is not None:
                self._unanswered = now
        gone_at = self._heard + SILENT_LIMIT
        soon = self._owes or not is_reading
        waits_at = gone_at
        if self._unanswered is not None:
            gone_at = min(gone_at, self._unanswered + UNANSWERED_LIMIT)
            waits_at = self._unanswered + WAITS_AFTER
            soon = soon or now >= waits_at
        if now >= gone_at:
            return Verdict(is_gone=True, must_beat=False, wait=0.0)
        interval = (SOON if soon else USUAL) * (SHORTEST + (1 - SHORTEST) * chance)
        beat_at = self._said + interval
        must_beat = now >= beat_at
        if must_beat:
            beat_at = now + interval
        times = [beat_at, gone_at]
        if waits_at > now:
            times.append(waits_at)
        return Verdict(is_gone=False, must_beat=must_beat, wait=min(times) - now)
