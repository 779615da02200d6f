"""How long a stream is dialled for again and again. Pure.

A server that starts its PT again is away for a moment, and nobody need notice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pt_bridge.session.stream import Stream

# How long to try again, counted from the first time, and the waits in between
# (seconds).
DIAL_AGAIN_FOR = 3.0
FIRST_WAIT, LONGEST_WAIT = 0.1, 1.0


class Redialling:
    """The streams that were dialled for in vain."""

    def __init__(self) -> None:
        # Since when, and how long to wait the next time.
        self._failing: dict[Stream, tuple[float, float]] = {}

    def __contains__(self, stream: Stream) -> bool:
        return stream in self._failing

    def wait_for(self, stream: Stream, began: float, now: float) -> float | None:
        """Count a failure; return how long to wait (seconds), None to give up.

        Args:
            stream: whose dialling has failed.
            began: when that began, in seconds of a steady clock.
            now: the time.
        """
        since, wait = self._failing.get(stream, (began, FIRST_WAIT))
        if now - since > DIAL_AGAIN_FOR:
            return None
        self._failing[stream] = since, min(2 * wait, LONGEST_WAIT)
        return wait

    def forget(self, stream: Stream) -> None:
        """Have a stream begin anew, or be over; safe to call again."""
        self._failing.pop(stream, None)

    def clear(self) -> None:
        """Forget all of them."""
        self._failing.clear()
