"""One timer for each stream, at most."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator

    from pt_bridge.session.stream import Stream


class StreamTimers:
    """The streams that wait for something, each with its timer."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._timers: dict[Stream, asyncio.TimerHandle] = {}

    def __len__(self) -> int:
        return len(self._timers)

    def __iter__(self) -> Iterator[Stream]:
        return iter(self._timers)

    def start(
        self, stream: Stream, seconds: float, then: Callable[[Stream], None]
    ) -> None:
        """Set a stream's timer, in the place of the one that it has."""
        self.stop(stream)
        self._timers[stream] = self._loop.call_later(seconds, self._do, stream, then)

    def stop(self, stream: Stream) -> None:
        """Cancel a stream's timer; safe to call again."""
        timer = self._timers.pop(stream, None)
        if timer is not None:
            timer.cancel()

    def clear(self) -> None:
        """Cancel all timers."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _do(self, stream: Stream, then: Callable[[Stream], None]) -> None:
        del self._timers[stream]
        then(stream)
