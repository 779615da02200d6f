"""asyncio's event loop, with a shorter way to the callbacks of sockets.

asyncio keeps a selector's key, a handle and a context for each callback, and goes
through its whole turn for each message. Here `EventLoop.add_reader` and its like reach
epoll directly, and what is ready is called while the loop still polls; it goes through
a turn only where something was scheduled, a timer is due, or asyncio itself waits for a
descriptor. Measured: 0.8 times the CPU for a new tunnel.

While messages pass, the time of the next timer is told to the kernel once
(`linux.Alarm`), and not at each wait. Measured: 0.9 times the CPU for a message.

Other than in asyncio's own loop, a callback has a context (`contextvars`) only where
one was set, as with several tunnels (`log.TUNNEL`), and asyncio's debug mode does not
time it.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import math
import select
import selectors
import time
from typing import TYPE_CHECKING, Any, TypeVarTuple

from pt_bridge.system.linux import create_alarm

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextvars import Context

    from pt_bridge.system.linux import Alarm

    Callback = Callable[[], object]

Arguments = TypeVarTuple("Arguments")

# How many descriptors are told of at once; the others have theirs right after.
EVENTS_AT_ONCE = 64
# After so many timers that were set the loop goes through a turn.
MOST_TIMERS_SET = 256
IN, OUT = 0x001, 0x004  # <sys/epoll.h>
READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class EpollSelector(selectors.BaseSelector):
    """Waits for asyncio's descriptors, and calls for ours.

    A descriptor may be both, as where a socket with a reader is written to by
    asyncio; epoll is asked for what either wants.

    Attributes:
        asked: what epoll was asked for, by descriptor.
        readers, writers: our callbacks, by descriptor.
        on_error: told of what a callback of ours has raised.
        has_work: whether something was scheduled meanwhile, for which the loop has to
            go through a turn.
        until: when it does that in any case, on the clock of `time.monotonic`.
    """

    on_error: Callable[[Callback, BaseException], None]

    def __init__(self, alarm: Callable[[], Alarm | None] = create_alarm) -> None:
        """Create one that waits for nothing; `alarm` makes its alarm."""
        self._epoll = select.epoll()
        self._keys: dict[int, selectors.SelectorKey] = {}
        # Those that epoll was asked for since it told what is ready, by numbers which
        # may have been another's then.
        self._new: set[int] = set()
        self.asked: dict[int, int] = {}
        self.readers: dict[int, Callback] = {}
        self.writers: dict[int, Callback] = {}
        self.has_work = False
        self.until = math.inf
        # At once: a descriptor that comes later would be taken for one that is left.
        self._alarm = alarm()
        if self._alarm is not None:
            self.readers[self._alarm.fileno()] = self._on_alarm
            self.update(self._alarm.fileno())

    def wanted(self, descriptor: int) -> int:
        """Return what epoll is to tell of a descriptor; 0 for nothing."""
        key = self._keys.get(descriptor)
        events = 0 if key is None else key.events
        wanted = 0
        if descriptor in self.readers or events & READ:
            wanted |= IN
        if descriptor in self.writers or events & WRITE:
            wanted |= OUT
        return wanted

    def update(self, descriptor: int) -> None:
        """Ask epoll for what is wanted of a descriptor now.

        Raises:
            OSError: it cannot be waited for.
        """
        before, now = self.asked.get(descriptor, 0), self.wanted(descriptor)
        if not now:
            self.asked.pop(descriptor, None)
            try:
                self._epoll.unregister(descriptor)
            except OSError:  # closed before
                pass
        elif now != before:
            if before:
                self._epoll.modify(descriptor, now)
            else:
                self._new.add(descriptor)
                self._epoll.register(descriptor, now)
            self.asked[descriptor] = now

    # What asyncio asks for.

    def register(
        self, fileobj: Any, events: int, data: Any = None
    ) -> selectors.SelectorKey:
        """Wait for a descriptor of asyncio's (`selectors.BaseSelector`)."""
        descriptor = number_of(fileobj)
        if descriptor in self._keys:
            raise KeyError(f"{fileobj!r} is registered")
        return self._set_key(fileobj, descriptor, events, data)

    def modify(
        self, fileobj: Any, events: int, data: Any = None
    ) -> selectors.SelectorKey:
        """Wait for something else of a descriptor that is registered."""
        return self._set_key(fileobj, self.get_key(fileobj).fd, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """Wait no more for a descriptor that is registered."""
        descriptor = self.get_key(fileobj).fd
        key = self._keys.pop(descriptor)
        self.update(descriptor)
        return key

    def _set_key(
        self, fileobj: Any, descriptor: int, events: int, data: Any
    ) -> selectors.SelectorKey:
        key = selectors.SelectorKey(fileobj, descriptor, events, data)
        self._keys[descriptor] = key
        self.update(descriptor)
        return key

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        """Return the key of a descriptor of asyncio's, or raise KeyError."""
        return self._keys[number_of(fileobj)]

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        """Return the keys of asyncio's descriptors."""
        return self._keys

    def close(self) -> None:
        """Wait for nothing any more."""
        self._epoll.close()
        if self._alarm is not None:
            self._alarm.close()
            self._alarm = None
        self.readers.clear()
        self.writers.clear()
        self._keys.clear()
        self.asked.clear()

    def select(
        self, timeout: float | None = None
    ) -> list[tuple[selectors.SelectorKey, int]]:
        """Call our callbacks until there is something for asyncio to do.

        Args:
            timeout: for how long at most, in seconds; None for any time.

        Returns:
            What is ready of asyncio's own descriptors.
        """
        self.has_work = False
        self.until = until = math.inf
        if timeout is not None:
            self.until = until = time.monotonic() + timeout
            if timeout and self._alarm is not None and self._alarm.rings_by(until):
                timeout = None
        poll, new, readers, keys = self._epoll.poll, self._new, self.readers, self._keys
        while True:
            try:
                events = poll(timeout, EVENTS_AT_ONCE)
            except InterruptedError:
                return []
            new.clear()
            others = None
            for event in events:
                descriptor, what = event
                # The usual, without another call. Measured: 0.6 times what a turn took
                # in Python with calls for each.
                if (
                    what == IN
                    and descriptor in readers
                    and descriptor not in new
                    and descriptor not in keys
                ):
                    callback = readers[descriptor]
                    try:
                        callback()
                    except BaseException as error:
                        self._on_raised(callback, error)
                else:
                    self._call(descriptor, what)
                    if descriptor in keys:
                        others = others or []
                        others.append(event)
            if others is not None:
                ready = self._ready(others)
                if ready:
                    return ready
            if self.has_work or not events:
                return []
            if timeout is not None:
                timeout = self._wait_for(until)
                if timeout is not None and timeout <= 0:
                    return []  # else who is always ready would hold up all others

    def _wait_for(self, until: float) -> float | None:
        """Return how long to wait (seconds); None for until the alarm rings."""
        left = until - time.monotonic()
        if left <= 0 or self._alarm is None:
            return left
        if not self._alarm.rings_by(until):
            self._alarm.set(until)
        return None

    def _on_alarm(self) -> None:
        """Let asyncio see what is due."""
        assert self._alarm is not None  # it has rung
        self._alarm.stop()
        self.has_work = True

    def _call(self, descriptor: int, event: int) -> None:
        """Call for what is ready of a descriptor, unless it is another one by now."""
        # Errors and hangups are for both.
        for what, callbacks in (
            (event & ~OUT, self.readers),
            (event & ~IN, self.writers),
        ):
            callback = callbacks.get(descriptor) if what else None
            if callback is not None and descriptor not in self._new:
                try:
                    callback()
                except BaseException as error:
                    self._on_raised(callback, error)

    def _ready(
        self, events: list[tuple[int, int]]
    ) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what is still waited for by asyncio, of what it has waited for."""
        ready = []
        for descriptor, event in events:
            key = self._keys.get(descriptor)
            if key is not None and descriptor not in self._new:
                found = (READ if event & ~OUT else 0) | (WRITE if event & ~IN else 0)
                if found & key.events:
                    ready.append((key, found & key.events))
        return ready

    def _on_raised(self, callback: Callback, error: BaseException) -> None:
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            raise error
        self.on_error(callback, error)


class EventLoop(asyncio.SelectorEventLoop):
    """asyncio's event loop on an `EpollSelector`."""

    # The same clock, without a call between: a new tunnel asks a dozen times.
    time = staticmethod(time.monotonic)

    def __init__(self, alarm: Callable[[], Alarm | None] = create_alarm) -> None:
        """Create a loop that does not run yet; `alarm` as for `EpollSelector`."""
        self._epoll = EpollSelector(alarm)
        self._timers_set = 0
        super().__init__(self._epoll)
        # Only now: a loop for which there are no descriptors goes at once.
        self._epoll.on_error = self._on_error

    def add_reader(
        self,
        fd: Any,
        callback: Callable[[*Arguments], Any],
        *args: *Arguments,
    ) -> None:
        """Call back whenever a descriptor can be read, or has failed."""
        self._add(self._epoll.readers, IN, fd, callback, args)

    def remove_reader(self, fd: Any) -> bool:
        """Call back no more; return whether there was a reader."""
        # Else it may be one of asyncio's own, which it removes like this.
        return self._remove(self._epoll.readers, fd) or super().remove_reader(fd)

    def add_writer(
        self,
        fd: Any,
        callback: Callable[[*Arguments], Any],
        *args: *Arguments,
    ) -> None:
        """Call back whenever a descriptor can be written to, or has failed."""
        self._add(self._epoll.writers, OUT, fd, callback, args)

    def remove_writer(self, fd: Any) -> bool:
        """Call back no more; return whether there was a writer."""
        return self._remove(self._epoll.writers, fd) or super().remove_writer(fd)

    def _add(
        self,
        callbacks: dict[int, Callback],
        event: int,
        fd: Any,
        callback: Callable[..., Any],
        args: tuple[Any, ...],
    ) -> None:
        if self.is_closed():
            raise RuntimeError("the event loop is closed")
        descriptor = number_of(fd)
        context = contextvars.copy_context()
        if context:
            callback, args = context.run, (callback, *args)
        callbacks[descriptor] = functools.partial(callback, *args) if args else callback
        if not self._epoll.asked.get(descriptor, 0) & event:
            try:
                self._epoll.update(descriptor)
            except BaseException:
                del callbacks[descriptor]
                raise

    def _remove(self, callbacks: dict[int, Callback], fd: Any) -> bool:
        descriptor = number_of(fd)
        if callbacks.pop(descriptor, None) is None:
            return False
        self._epoll.update(descriptor)
        return True

    # What needs a turn of the loop.

    def call_soon(
        self,
        callback: Callable[[*Arguments], object],
        *args: *Arguments,
        context: Context | None = None,
    ) -> asyncio.Handle:
        """Call back in the next turn of the loop."""
        self._epoll.has_work = True
        return super().call_soon(callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[*Arguments], object],
        *args: *Arguments,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Call back at a time of the loop's clock."""
        # Else the loop goes through a turn before that, and sees it then. It has to now
        # and then: what was cancelled it forgets in its turns alone.
        self._timers_set += 1
        if when < self._epoll.until or self._timers_set >= MOST_TIMERS_SET:
            self._timers_set = 0
            self._epoll.has_work = True
        return super().call_at(when, callback, *args, context=context)

    def stop(self) -> None:
        """Stop running after this turn of the loop."""
        self._epoll.has_work = True
        super().stop()

    def _on_error(self, callback: Callback, error: BaseException) -> None:
        self.call_exception_handler(
            {"message": f"Exception in callback {callback!r}", "exception": error}
        )


def create() -> asyncio.AbstractEventLoop:
    """Create the best event loop that the system has."""
    if not hasattr(select, "epoll"):
        return asyncio.new_event_loop()
    return EventLoop()


def number_of(fileobj: Any) -> int:
    """Return a descriptor's number, of that itself or of what has one."""
    return fileobj if type(fileobj) is int else int(fileobj.fileno())
