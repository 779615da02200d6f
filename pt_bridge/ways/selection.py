"""Which of several ways to the server to try, and in which order. Pure.

The one that worked last comes first, the others in the order in which they were given.
One that failed rests, for longer each time; meanwhile it is tried only behind all that
do not. So no connection has to wait for it, and none is made only to see how it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Sequence

T = TypeVar("T", bound="Hashable")

# How long one that failed rests (seconds): the first time, and doubled up to the
# longest; each is between so much of it and all of it.
FIRST_REST, LONGEST_REST = 30.0, 600.0
SHORTEST = 0.75
MOST_DOUBLINGS = 10


def rest_after(failures: int, chance: float) -> float:
    """Return how long what has failed rests, in seconds.

    Args:
        failures: how often it had failed before.
        chance: a random number from 0 to 1.
    """
    doublings = min(failures, MOST_DOUBLINGS)
    rest = min(LONGEST_REST, FIRST_REST * 2.0**doublings)
    return rest * (SHORTEST + (1 - SHORTEST) * chance)


class Record:
    """What became of one way.

    Attributes:
        failures: how often it has failed since it last worked.
        rests_until: when its rest ends, on the caller's clock.
        why: what failed, in a few words that name nobody.
    """

    __slots__ = ("failures", "rests_until", "why")

    def __init__(self) -> None:
        self.failures = 0
        self.rests_until = 0.0
        self.why = ""


class Selection:
    """The record of every way.

    Attributes:
        last: the one that worked last, or None.
    """

    __slots__ = ("_records", "last")

    def __init__(self) -> None:
        self._records: dict[Hashable, Record] = {}
        self.last: Hashable = None

    def order(self, ways: Sequence[T], now: float, avoid: Hashable = None) -> list[T]:
        """Return the ways in the order in which to try them.

        Args:
            ways: all of them, as they were given.
            now: the time, in seconds of a steady clock.
            avoid: one that comes last, or None.
        """
        return sorted(ways, key=lambda way: self._rank(way, now, avoid))

    def _rank(
        self, way: Hashable, now: float, avoid: Hashable
    ) -> tuple[bool, float, bool]:
        record = self._records.get(way)
        rest = 0.0 if record is None else max(0.0, record.rests_until - now)
        return way == avoid, rest, way != self.last

    def record(self, way: Hashable) -> Record | None:
        """Return what is known of a way that has failed, or None."""
        return self._records.get(way)

    def worked(self, way: Hashable) -> bool:
        """Try this one first from now on; return whether that is new."""
        self._records.pop(way, None)
        is_new = way != self.last
        self.last = way
        return is_new

    def failed(self, way: Hashable, why: str, now: float, chance: float) -> None:
        """Try a way later than others, as it has failed.

        Args:
            way: the one that failed.
            why: what did, in a few words.
            now: the time.
            chance: a random number from 0 to 1.
        """
        record = self._records.setdefault(way, Record())
        record.why = why
        if now < record.rests_until:
            return  # one fault of several connections
        record.rests_until = now + rest_after(record.failures, chance)
        record.failures += 1

    def keep_only(self, ways: Collection[Hashable]) -> None:
        """Forget all others: a name may have other addresses now."""
        for way in [each for each in self._records if each not in ways]:
            del self._records[way]
