"""A clock whose hands a test moves, in the place of an event loop's own."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable


class Appointment:
    """Something that a clock will do."""

    def __init__(self, when: float, callback: Callable[[], None]) -> None:
        self.when = when
        self.callback = callback
        self.is_cancelled = False

    def cancel(self) -> None:
        """Cancel it, and forget it, as asyncio does."""
        self.is_cancelled = True
        self.callback = _do_nothing


def _do_nothing() -> None:
    pass


class Clock:
    """A clock that stands still unless a test moves its hands."""

    def __init__(self) -> None:
        self.now = 0.0
        self.appointments: list[Appointment] = []

    @property
    def as_loop(self) -> asyncio.AbstractEventLoop:
        """Itself, for whoever wants an event loop and uses no more of it than this."""
        return cast("asyncio.AbstractEventLoop", self)

    @property
    def timers(self) -> int:
        """How many timers run."""
        return sum(not each.is_cancelled for each in self.appointments)

    def time(self) -> float:
        """Return the time, in seconds."""
        return self.now

    def call_later(
        self, delay: float, callback: Callable[..., None], *args: object
    ) -> Appointment:
        """Create an appointment."""
        call = functools.partial(callback, *args)
        self.appointments.append(Appointment(self.now + delay, call))
        return self.appointments[-1]

    def pass_by(self, seconds: float) -> None:
        """Advance the time, and run the timers that are due."""
        self.now += seconds
        due = [each for each in self.appointments if each.when <= self.now]
        self.appointments = [each for each in self.appointments if each not in due]
        for each in due:
            if not each.is_cancelled:
                each.callback()


class ClockedLoop(Clock):
    """An event loop that watches real sockets and goes by a test's clock."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)
