"""How long servers usually take to accept a stream, and what is too long. Pure."""

from __future__ import annotations

# No ACCEPT within so many seconds, or so many times what is usual, is too late.
LEAST, TIMES = 1.0, 4.0
# How much of a new time goes into what is usual (as TCP has it for round trips).
WEIGHT = 1 / 8
# Before a connection that nobody has accepted is made anew (seconds): the first wait,
# doubled each time; each is between so much of it and all of it.
FIRST_WAIT, SHORTEST = 0.2, 0.5


class AcceptTimes:
    """What ACCEPT took.

    Attributes:
        usual: seconds; None before the first.
    """

    __slots__ = ("usual",)

    def __init__(self) -> None:
        self.usual: float | None = None

    def took(self, seconds: float) -> None:
        """Count a stream that was accepted after so many seconds."""
        if self.usual is None:
            self.usual = seconds
        else:
            self.usual += WEIGHT * (seconds - self.usual)

    def late_after(self, handshake: float) -> float:
        """Return the seconds after which no ACCEPT has come in time.

        Args:
            handshake: what making the connection took (seconds), which stands for the
                usual time where none is known.
        """
        return max(LEAST, TIMES * (handshake if self.usual is None else self.usual))


def wait_before(attempt: int, chance: float) -> float:
    """Return how long to wait before a stream is tried on one more connection.

    Args:
        attempt: how many have failed it, at least one.
        chance: a random number from 0 to 1.
    """
    longest = FIRST_WAIT * 2.0 ** (attempt - 1)
    return longest * (SHORTEST + (1 - SHORTEST) * chance)
