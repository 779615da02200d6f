"""When a PT that died is started again: soon, then less soon, and not for ever.

The waits double up to a cap, and each is drawn from a range, so that many
that died of one cause do not come back in step.
"""

from __future__ import annotations

from pt_bridge.errors import PtBridgeError, TransportError

# The first wait, at least; the range of the longest begins at `CAP` (seconds).
FIRST = 0.1
CAP = 10.0
# A PT that was ready for so long starts with a clean record (seconds).
STABLE = 60.0
MOST_DOUBLINGS = 10


class Backoff:
    """The record of one PT's deaths.

    Attributes:
        deaths: how many there were since it was last stable.
    """

    __slots__ = ("_restarts", "deaths")

    def __init__(self, restarts: int) -> None:
        """Create a clean record.

        Args:
            restarts: how many deaths without a stable time between are forgiven.
        """
        self._restarts = restarts
        self.deaths = 0

    def after_death(self, *, lived: float, chance: float) -> float | None:
        """Return how long to wait before the next start.

        Args:
            lived: how long the PT was ready, in seconds; 0 where it never was.
            chance: a random number from 0 to 1.

        Returns:
            Seconds, at least `FIRST`; or None: it has died too often.
        """
        if lived >= STABLE:
            self.deaths = 0
        self.deaths += 1
        if self.deaths > self._restarts:
            return None
        doublings = min(self.deaths - 1, MOST_DOUBLINGS)
        return min(CAP, FIRST * 2.0**doublings) * (1 + chance)


def for_good(failure: PtBridgeError, deaths: int, restarts: int) -> PtBridgeError:
    """Return the error for a PT that is not started again.

    Args:
        failure: the last one.
        deaths: how many there were.
        restarts: how many are forgiven.
    """
    if not isinstance(failure, TransportError):
        return failure
    if restarts:
        more = (
            f"it failed {deaths} times without a quiet minute between: look at what it "
            f"wrote, or raise restarts= (now {restarts})"
        )
    else:
        more = "restarts=0, so pt-bridge ends with it"
    return type(failure)(f"{failure}; {more}", failure.reason)
