"""Pipes that are lent while bytes are in flight, and given back empty.

An idle tunnel has none. One that cannot be given back empty is closed. Where a sink
takes nothing any more, its pipe is emptied into memory once others need it, or some
readers that stall would take splice from everybody. Measured: beside 32 of them a
transfer takes 1.0 to 1.3 times the CPU per GiB that it takes alone; where they keep
their pipes, 5 to 15 times.
"""

from __future__ import annotations

import fcntl
import math
import os
import time
from typing import TYPE_CHECKING, NamedTuple

from pt_bridge.relay.pump import CHUNK

if TYPE_CHECKING:
    from collections.abc import Callable

# What a pipe holds, and so the most that one direction of a tunnel holds back while its
# reader is slow. Measured: 64 KiB is half as fast, 512 KiB takes 1.15 times the CPU; an
# ordinary user gets no larger one (fs.pipe-max-size).
PIPE_SIZE = 1024 * 1024
# What is put into one at once while messages have moved within so many seconds: they
# wait for it. Measured: half of what it holds costs a bulk tunnel a tenth of its
# throughput, and a quarter of it three tenths.
TURN_BESIDE_MESSAGES, RECENT = PIPE_SIZE // 2, 0.02
# So many short reads in a row are messages: one may be the rest of bulk.
MANY_MESSAGES = 4
# Linux lets an ordinary user have 64 MiB in large pipes (pipe-user-pages-soft) and
# shrinks what he makes beyond that: half of it for us.
MAX_PIPES = 32
# How many are kept for the next one who needs one.
KEPT_PIPES = 8
# How long a sink takes nothing before its pipe may be needed elsewhere (seconds): to
# take one from a tunnel that flows gains nothing.
STALLED = 0.5
# What may be in memory of what stalled tunnels held in pipes (bytes). Once it is half
# of that, a pipe is filled with one chunk: so very many can stall.
MOST_COPIED = 64 * 1024 * 1024


class Pipe(NamedTuple):
    """A pipe's two descriptors."""

    read: int
    write: int


class PipePool:
    """Lends pipes, and closes them all at the end of its block."""

    def __init__(
        self,
        *,
        most: int = MAX_PIPES,
        size: int = PIPE_SIZE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Create a pool.

        Args:
            most: how many pipes there may be at once.
            size: how many bytes each is to hold; the system may grant less.
            clock: returns the time, in seconds.
        """
        self._clock = clock
        # Those whose sinks take nothing, the longest first.
        self._stalled: dict[Pipe, tuple[float, Callable[[], None]]] = {}
        self._copied = 0
        self._messages_at = -math.inf
        self._most = most
        self._size = size
        self._free: list[Pipe] = []
        self._lent = 0
        self._is_refused = not hasattr(os, "splice")

    def __enter__(self) -> PipePool:
        return self

    def __exit__(self, *_: object) -> None:
        """Close the pipes that are not lent."""
        while self._free:
            _close(self._free.pop())

    @property
    def descriptors(self) -> int:
        """How many descriptors there may be at once, free pipes included."""
        return 2 * (self._most + KEPT_PIPES)

    @property
    def lent(self) -> int:
        """How many pipes are lent."""
        return self._lent

    @property
    def fill(self) -> int:
        """How many bytes to put into a pipe at most."""
        if self._copied >= MOST_COPIED // 2:
            return CHUNK
        is_alone = self._clock() - self._messages_at > RECENT
        return PIPE_SIZE if is_alone else TURN_BESIDE_MESSAGES

    def note_messages(self) -> None:
        """Know that somebody exchanges messages, who would wait for bulk."""
        self._messages_at = self._clock()

    def borrow(self) -> Pipe | None:
        """Lend an empty pipe, or None where there is none to be had, or of no use."""
        if self._is_refused:
            return None
        if not self._free and self._lent >= self._most:
            self._take_from_stalled()
        if self._free:
            pipe = self._free.pop()
        elif self._lent >= self._most:
            return None
        else:
            try:
                pipe = Pipe(*os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC))
            except OSError:  # out of descriptors
                return None
            try:
                fcntl.fcntl(pipe.write, fcntl.F_SETPIPE_SZ, self._size)
            except OSError:  # a smaller one does as well, only slower
                pass
        self._lent += 1
        return pipe

    def note_stalled(self, pipe: Pipe, on_needed: Callable[[], None]) -> None:
        """Note that a pipe's sink takes nothing now.

        Args:
            pipe: it is borrowed, and holds bytes.
            on_needed: called where others need the pipe; calls `take_out`.
        """
        self._stalled.pop(pipe, None)  # it becomes the last one
        self._stalled[pipe] = self._clock(), on_needed

    def _take_from_stalled(self) -> None:
        """Get a pipe from the one who has been stalled for longest."""
        for since, on_needed in self._stalled.values():
            is_stalled = self._clock() - since >= STALLED
            if is_stalled and self._copied + PIPE_SIZE <= MOST_COPIED:
                on_needed()
            return

    def take_out(self, pipe: Pipe, held: int) -> bytearray:
        """Take back a pipe with bytes in it, and return them.

        Args:
            pipe: it was borrowed.
            held: how many bytes it holds; `forget` is told when they have gone.
        """
        data = _read_out(pipe, held)
        self._copied += held
        self.give_back(pipe)
        return data

    def forget(self, count: int) -> None:
        """Learn that so many bytes that were taken out are not in memory any more."""
        self._copied -= count

    def give_back(self, pipe: Pipe) -> None:
        """Take back a pipe that is empty again."""
        self._stalled.pop(pipe, None)
        self._lent -= 1
        if len(self._free) < KEPT_PIPES:
            self._free.append(pipe)
        else:
            _close(pipe)

    def discard(self, pipe: Pipe) -> None:
        """Take back a pipe that still holds bytes, and close it."""
        self._stalled.pop(pipe, None)
        self._lent -= 1
        _close(pipe)

    def copy_out(self, pipe: Pipe, held: int) -> bytearray:
        """Take back a pipe that the system refuses to empty; lend none from now on.

        Returns:
            The bytes that it held.
        """
        data = _read_out(pipe, held)
        self.refuse(pipe)
        return data

    def refuse(self, pipe: Pipe) -> None:
        """Take back an empty pipe that cannot be used; lend none from now on."""
        self._is_refused = True
        self.give_back(pipe)


def _read_out(pipe: Pipe, held: int) -> bytearray:
    data = bytearray()
    while len(data) < held:
        data += os.read(pipe.read, held - len(data))
    return data


def _close(pipe: Pipe) -> None:
    os.close(pipe.read)
    os.close(pipe.write)
