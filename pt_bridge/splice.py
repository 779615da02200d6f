"""How bytes move without passing through this process: splice(2), through a pipe.

A pipe is borrowed from a pool while bytes are in flight and given back empty, so an
idle tunnel has none. One that cannot be given back empty is closed. Where no pipe is to
be had, or the system refuses to splice, a pump copies instead.
"""

from __future__ import annotations

import errno
import fcntl
import functools
import os
from socket import SO_RCVLOWAT, SOL_SOCKET
from typing import TYPE_CHECKING, NamedTuple

from pt_bridge.pump import CopyPump, End

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Callable
    from types import TracebackType

    from pt_bridge.pump import PumpMaker

# What a pipe holds, and so the most that one direction of a tunnel holds back while its
# reader is slow. Measured: 64 KiB is half as fast, 512 KiB takes 1.15 times the CPU; an
# ordinary user gets no larger one (fs.pipe-max-size).
PIPE_SIZE = 1024 * 1024
# Linux lets an ordinary user have 64 MiB in large pipes (pipe-user-pages-soft) and
# shrinks what he makes beyond that: half of it for us.
MAX_PIPES = 32
# How many are kept for the next one who needs one.
KEPT_PIPES = 8
MOVE, NONBLOCK = 1, 2  # splice(2)
# A PT writes 20 to 50 KiB at a time, and to be woken for each costs more than to move
# it. Where this many bytes come within so many seconds, in smaller pieces, the kernel
# is asked to wake us only once they are there. The end of a burst may so be late by
# twice that time, once. Measured through obfs4proxy: half the CPU for each byte.
COALESCED = 256 * 1024
COALESCED_WITHIN = 0.003
REFUSED = frozenset({errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EOPNOTSUPP})


class Pipe(NamedTuple):
    """A pipe's two descriptors."""

    read: int
    write: int


class PipePool:
    """Lends pipes, and closes them all at the end of its block."""

    def __init__(self, *, most: int = MAX_PIPES, size: int = PIPE_SIZE) -> None:
        """Make a pool.

        Args:
            most: how many pipes there may be at once.
            size: how many bytes each is to hold; the system may grant less.
        """
        self._most = most
        self._size = size
        self._free: list[Pipe] = []
        self._lent = 0

    def __enter__(self) -> PipePool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
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

    def borrow(self) -> Pipe | None:
        """Lend an empty pipe, or None where there is none to be had."""
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

    def give_back(self, pipe: Pipe) -> None:
        """Take back a pipe that is empty again."""
        self._lent -= 1
        if len(self._free) < KEPT_PIPES:
            self._free.append(pipe)
        else:
            _close(pipe)

    def discard(self, pipe: Pipe) -> None:
        """Take back a pipe that still holds bytes, and close it."""
        self._lent -= 1
        _close(pipe)


def _close(pipe: Pipe) -> None:
    os.close(pipe.read)
    os.close(pipe.write)


class SplicePump(CopyPump):
    """A pump whose bytes stay in the kernel; its contract is `CopyPump`'s."""

    __slots__ = (
        "_copies",
        "_held",
        "_pipe",
        "_pool",
        "_rate_check",
        "_window_bytes",
        "_window_start",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        source: socket.socket,
        sink: socket.socket,
        ended: Callable[[End], None],
        pool: PipePool,
    ) -> None:
        """Make a pump that stands still.

        Args:
            loop: whose readers and writers drive it.
            source: a non-blocking socket to read from.
            sink: a non-blocking socket to write to.
            ended: called once with how it ended, but not after `stop`.
            pool: where it borrows pipes.
        """
        super().__init__(loop, source, sink, ended)
        self._pool = pool
        self._pipe: Pipe | None = None
        self._held = 0
        self._copies = False
        self._rate_check: asyncio.TimerHandle | None = None
        self._window_start = 0.0
        self._window_bytes = 0

    @property
    def is_blocked(self) -> bool:
        """Whether bytes wait for the sink to take them."""
        return self._pipe is not None or self._rest is not None

    def stop(self) -> None:
        """Stand still for good; bytes that the sink has not taken are lost."""
        if self._rate_check is not None:
            self._stop_coalescing(self._rate_check)
        if self._pipe is not None:
            self._pool.discard(self._pipe)
            self._pipe = None
            self._running = False
            self._loop.remove_reader(self._source.fileno())
            self._loop.remove_writer(self._sink.fileno())
        super().stop()

    def _read(self) -> None:
        pipe = None if self._copies else self._pool.borrow()
        if pipe is None:
            super()._read()
            return
        try:
            number = os.splice(
                self._source.fileno(), pipe.write, PIPE_SIZE, flags=MOVE | NONBLOCK
            )
        except (BlockingIOError, InterruptedError):
            self._pool.give_back(pipe)
            super()._read()  # which goes on behind an urgent byte, and splice does not
            return
        except OSError as error:
            self._pool.give_back(pipe)
            if error.errno in REFUSED:
                self._copies = True
                super()._read()
            else:
                self._end(End.SOURCE_RESET)
            return
        if not number:
            self._pool.give_back(pipe)
            self._end(End.EOF)
            return
        self._pipe, self._held = pipe, number
        if self._flush():
            if number < COALESCED and self._rate_check is None and self._running:
                self._weigh_rate()
            return
        self._loop.remove_reader(self._source.fileno())
        self._loop.add_writer(self._sink.fileno(), self._write)

    def _write(self) -> None:
        if self._pipe is None:
            super()._write()
        elif self._flush() and self._running:
            self._loop.remove_writer(self._sink.fileno())
            self._loop.add_reader(self._source.fileno(), self._read)

    def _flush(self) -> bool:
        """Empty the pipe into the sink; tell whether that is done, or we have ended."""
        assert self._pipe is not None  # the caller has filled it
        try:
            while self._held:
                sent = os.splice(
                    self._pipe.read,
                    self._sink.fileno(),
                    self._held,
                    flags=MOVE | NONBLOCK,
                )
                self._held -= sent
                self.moved += sent
        except (BlockingIOError, InterruptedError):
            pass
        except BrokenPipeError:
            self._end(End.SINK_CLOSED)
            return True
        except OSError as error:
            if error.errno in REFUSED:
                self._copy_what_is_held(self._pipe)
                return False
            self._end(End.SINK_RESET)
            return True
        self.last = self._loop.time()
        if self._held:
            return False
        self._pool.give_back(self._pipe)
        self._pipe = None
        return True

    def _weigh_rate(self) -> None:
        """Begin to coalesce where enough has come in a short time."""
        if self.last - self._window_start > COALESCED_WITHIN:
            self._window_start, self._window_bytes = self.last, self.moved
        elif self.moved - self._window_bytes >= COALESCED:
            self._source.setsockopt(SOL_SOCKET, SO_RCVLOWAT, COALESCED)
            self._check_rate_later()

    def _check_rate_later(self) -> None:
        self._window_bytes = self.moved
        self._rate_check = self._loop.call_later(COALESCED_WITHIN, self._check_rate)

    def _check_rate(self) -> None:
        assert self._rate_check is not None  # it has called this
        if self.moved - self._window_bytes >= COALESCED:
            self._check_rate_later()
        else:
            self._stop_coalescing(self._rate_check)

    def _stop_coalescing(self, check: asyncio.TimerHandle) -> None:
        check.cancel()
        self._rate_check = None
        # The kernel looks at once whether there is something to wake us for.
        self._source.setsockopt(SOL_SOCKET, SO_RCVLOWAT, 1)

    def _copy_what_is_held(self, pipe: Pipe) -> None:
        """Go on as a copying pump, from now on, with the bytes in the pipe first."""
        data = bytearray()
        while len(data) < self._held:
            data += os.read(pipe.read, self._held - len(data))
        self._rest = memoryview(data)
        self._copies = True
        self._pool.give_back(pipe)
        self._pipe = None


def pump_maker(pool: PipePool) -> PumpMaker:
    """Give what makes the best pump that the system has."""
    if not hasattr(os, "splice"):
        return CopyPump
    return functools.partial(SplicePump, pool=pool)
