"""How often a peer may say what costs us something, and carries nothing. Pure."""

from __future__ import annotations

# In so many seconds: frames that carry nothing (more come from a hostile peer only),
# and streams that are opened (those beyond wait).
WINDOW = 1.0
MAX_IDLE_FRAMES, MAX_OPENS = 200, 100


class PeerLimits:
    """Counts what came on one connection."""

    __slots__ = ("_idle_frames", "_opens", "_window")

    def __init__(self) -> None:
        self._window = 0.0
        self._idle_frames = self._opens = 0

    def idle_frame(self, now: float) -> bool:
        """Count a frame that carries nothing; return whether it is one too many.

        Args:
            now: the time, in seconds of a steady clock.
        """
        self._begin(now)
        self._idle_frames += 1
        return self._idle_frames > MAX_IDLE_FRAMES

    def stream(self, now: float) -> float:
        """Count a stream that is opened; return how long it has to wait (seconds).

        Args:
            now: as for `idle_frame`.
        """
        self._begin(now)
        self._opens += 1
        return 0.0 if self._opens <= MAX_OPENS else self._window + WINDOW - now

    def _begin(self, now: float) -> None:
        if now - self._window >= WINDOW:
            self._window = now
            self._idle_frames = self._opens = 0
