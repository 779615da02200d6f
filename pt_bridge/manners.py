"""What is known of a PT's conduct, and shared by all of its tunnels."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Manners:
    """What one PT process does, and has shown that it does.

    Attributes:
        is_ending: tells whether an EOF from it comes from its death.
        is_asleep: tells whether all its threads wait for something, or None where that
            cannot be known.
        cpu_time: gives the seconds that they have run so far, or None where that cannot
            be known.
        keeps: whether it keeps the one way of a tunnel when it was told of an EOF on
            the other, or None as long as it has not shown that.
        tunnels: how many it has.
    """

    __slots__ = ("cpu_time", "is_asleep", "is_ending", "keeps", "tunnels")

    def __init__(
        self,
        *,
        is_ending: Callable[[], bool],
        is_asleep: Callable[[], bool | None],
        cpu_time: Callable[[], float | None],
    ) -> None:
        """Know nothing of it yet."""
        self.is_ending = is_ending
        self.is_asleep = is_asleep
        self.cpu_time = cpu_time
        self.keeps: bool | None = None
        self.tunnels = 0
