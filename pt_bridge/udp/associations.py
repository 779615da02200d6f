"""Whose a datagram is: a few hundred associations, the silent and the oldest forgotten.

UDP has no connections, so nobody says that one is over. Pure: the time is passed in.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from pt_bridge.protocol.frames import ASSOCIATIONS

K = TypeVar("K")
V = TypeVar("V")

# How many there are at most, and for how long each may be silent (seconds).
MOST = 1_024
SILENT_LIMIT = 300.0
# How many new ones are let in within so many seconds: on a server each costs a socket.
WINDOW = 1.0
MAX_NEW = 1_024


class Associations(Generic[K, V]):
    """What is known of each association, those in use last at the end."""

    __slots__ = ("_known", "_most", "_new", "_window")

    def __init__(self, most: int = MOST) -> None:
        """Begin without any.

        Args:
            most: how many there may be, 1 at least.
        """
        self._most = most
        self._known: dict[K, tuple[V, float]] = {}
        self._window = 0.0
        self._new = 0

    def __len__(self) -> int:
        return len(self._known)

    def use(self, key: K, now: float) -> V | None:
        """Return what is known of an association that something was sent on, or None.

        Args:
            key: which one.
            now: the time, in seconds of a steady clock.
        """
        found = self._known.pop(key, None)
        if found is None:
            return None
        self._known[key] = found[0], now
        return found[0]

    def admits(self, now: float) -> bool:
        """Count a new association; return whether it is not one too many for now."""
        if now - self._window >= WINDOW:
            self._window, self._new = now, 0
        self._new += 1
        return self._new <= MAX_NEW

    def add(self, key: K, value: V, now: float) -> V | None:
        """Add one that is not known yet; return what had to go for it, if any."""
        assert key not in self._known
        gone = self.drop_oldest() if len(self._known) >= self._most else None
        self._known[key] = value, now
        return gone

    def drop_oldest(self) -> V | None:
        """Forget the one silent for longest; return what was known of it."""
        oldest = next(iter(self._known), None)
        return None if oldest is None else self._known.pop(oldest)[0]

    def expire(self, now: float) -> list[V]:
        """Forget those that were silent for too long; return what was known of them."""
        gone = []
        for value, used in self._known.values():
            if now - used < SILENT_LIMIT:
                break
            gone.append(value)
        for _ in gone:
            self.drop_oldest()
        return gone

    def clear(self) -> list[V]:
        """Forget them all, and return what was known of them."""
        gone = [value for value, _ in self._known.values()]
        self._known.clear()
        return gone


class Numbers(Generic[K]):
    """The number of each local address that datagrams come from (client).

    A number is given again as late as can be, so that no answer for a program that has
    gone reaches another one.
    """

    __slots__ = ("_addresses", "_associations", "_last")

    def __init__(self, most: int = MOST) -> None:
        """Begin without any.

        Args:
            most: how many there may be, from 1 to 65,535.
        """
        assert most < ASSOCIATIONS
        self._associations: Associations[K, int] = Associations(most)
        self._addresses: dict[int, K] = {}
        self._last = 0

    def __len__(self) -> int:
        return len(self._addresses)

    def of(self, address: K, now: float) -> int | None:
        """Return an address's number, a new one if need be.

        Args:
            address: where a datagram came from.
            now: the time, in seconds of a steady clock.

        Returns:
            0 to 65,535; None where too many new ones come now.
        """
        number = self._associations.use(address, now)
        if number is not None:
            return number
        if not self._associations.admits(now):
            return None
        number = self._next()
        gone = self._associations.add(address, number, now)
        if gone is not None:
            del self._addresses[gone]
        self._addresses[number] = address
        return number

    def address(self, number: int, now: float) -> K | None:
        """Return where an answer goes, None where nobody knows any more."""
        address = self._addresses.get(number)
        if address is not None:
            self._associations.use(address, now)
        return address

    def expire(self, now: float) -> None:
        """Forget those that were silent for too long."""
        for number in self._associations.expire(now):
            del self._addresses[number]

    def _next(self) -> int:
        while True:
            self._last = (self._last + 1) % ASSOCIATIONS
            if self._last not in self._addresses:
                return self._last
