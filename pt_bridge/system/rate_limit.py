"""How much of what happens again and again comes into the log: pure."""

from __future__ import annotations

# Of failed connections, one in so many seconds is told of; and of others that failed
# for other reasons, so many.
INTERVAL = 30.0
MOST_REASONS = 4
# Of a program's lines: enough for a start that goes wrong. PTs write up to ten lines
# for each connection that fails, and whoever connects could fill the disk with them.
BURST = 30  # lines at once
PER_SECOND = 0.1  # and then so many


class RateLimit:
    """Lets a sentence through once in a while, and counts those that it holds back.

    Another sentence comes through at once, for it may be what has changed since.
    """

    def __init__(self, interval: float = INTERVAL) -> None:
        """Create one that lets a sentence through every `interval` seconds."""
        self._interval = interval
        self._said: dict[str, float] = {}
        self._held_back = 0

    def admit(self, text: str, now: float) -> str | None:
        """Return the sentence for the log, or None.

        Args:
            text: the sentence.
            now: the time, in seconds of any clock that goes steadily.
        """
        for each, at in list(self._said.items()):
            if now - at >= self._interval:
                del self._said[each]
        if text in self._said or len(self._said) >= MOST_REASONS:
            self._held_back += 1
            return None
        self._said[text] = now
        held_back, self._held_back = self._held_back, 0
        if not held_back:
            return text
        return f"{text} ({held_back} more failed since the last such line)"


class LineRation:
    """Lets a burst of lines through, then one now and then, and counts the others."""

    def __init__(self, burst: int = BURST, per_second: float = PER_SECOND) -> None:
        """Create one that has let nothing through yet.

        Args:
            burst: how many lines may come at once.
            per_second: how many more may come each second after that.
        """
        self._burst = burst
        self._per_second = per_second
        self._left = float(burst)
        self._since = 0.0
        self._held_back = 0

    def admit(self, now: float) -> int | None:
        """Return how many lines were held back before this one; None to hold it back.

        Args:
            now: the time, in seconds of any clock that goes steadily.
        """
        more = (now - self._since) * self._per_second
        self._left, self._since = min(self._burst, self._left + more), now
        if self._left < 1:
            self._held_back += 1
            return None
        self._left -= 1
        held_back, self._held_back = self._held_back, 0
        return held_back
