"""How many connections are to be ready, before anybody asks for them. Pure.

A stream that begins on a connection that is there already has its answer a handshake
sooner. But every handshake that nothing follows costs the PT's time, and is odd to
whoever watches. So no more are made ready than streams are likely to begin at once:
what was open at once of late, beyond what is open now; and one more beside the first.

The seconds in which streams began are the limit. Counted alone, they would ask for six
ready ones beside the six that carry a browser's page, each of which is used again and
again: half of all handshakes would be for nothing.
"""

from __future__ import annotations

from collections import deque

# `auto` makes as many ready as streams began in so many seconds, at most so many.
RECENT, MOST = 5.0, 6
# Beside so few streams one more is likely to begin, whatever there was of late.
FEW = 1
# None is made once nothing has begun for so long (seconds).
QUIET = 10.0
# How long it is remembered how many streams were open at once (seconds).
REMEMBERED = 60.0
# They are made one after the other, with so many seconds between: no clockwork, and no
# burst that tells where a page begins.
LEAST_GAP, MOST_GAP = 0.05, 0.3


class Preconnect:
    """What streams have begun lately, and so how many connections are to be ready.

    All times are in seconds of one steady clock.
    """

    __slots__ = ("_began", "_fixed", "_peaks")

    def __init__(self, fixed: int | None = None) -> None:
        """Begin with no stream.

        Args:
            fixed: how many are to be ready while streams begin; None for `auto`.
        """
        self._fixed = fixed
        self._began: deque[float] = deque(maxlen=MOST)
        # How many were open at once, and when: each less than the one before.
        self._peaks: deque[tuple[float, int]] = deque()

    def began(self, now: float, streams: int) -> None:
        """Count a stream that begins.

        Args:
            now: the time.
            streams: how many are open, it included.
        """
        self._began.append(now)
        while self._peaks and self._peaks[-1][1] <= streams:
            self._peaks.pop()
        self._peaks.append((now, streams))

    def wanted(self, now: float, streams: int) -> int:
        """Return how many connections are to be ready for streams that may begin.

        Args:
            now: the time.
            streams: how many are open.
        """
        if not self._began or now - self._began[-1] > QUIET:
            return 0
        if self._fixed is not None:
            return self._fixed
        while self._peaks and now - self._peaks[0][0] > REMEMBERED:
            self._peaks.popleft()
        peak = self._peaks[0][1] if self._peaks else 0
        since = self._began[-1] - RECENT
        recent = sum(1 for each in self._began if each >= since)
        return min(recent, max(peak - streams, 1 if streams <= FEW else 0))


def gap(chance: float) -> float:
    """Return how long to wait before the next one is made (seconds).

    Args:
        chance: a random number from 0 to 1.
    """
    return LEAST_GAP + (MOST_GAP - LEAST_GAP) * chance
