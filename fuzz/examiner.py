"""Judges what a target makes of an input."""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import signal
import sys
import tracemalloc
from typing import TYPE_CHECKING

import psutil

from fuzz.target import KIB

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator
    from types import FrameType

    from fuzz.target import Read, Target

MIB = KIB * KIB
# What one input may take of the processor, while what it reaches is recorded, which
# makes all some times slower (seconds).
CPU_LIMIT = 3.0
# What the process may grow by, and what an input may cost for each of its bytes, beside
# what the target says (bytes; two may be an option, with its key and its place).
MOST_MEMORY = 256 * MIB
MOST_HELD_PER_BYTE = KIB
# How often an input is given again, and how often that is done, to see what it leaves.
TIMES, ROUNDS = 10, 25
# A part of an input that is repeated until it is as long as may be (bytes).
LONGEST_PART = 8


class Find(Exception):
    """Raised when an input was not borne.

    Attributes:
        data: the input.
    """

    def __init__(self, what: str, data: bytes) -> None:
        super().__init__(what)
        self.data = data


class TooSlow(BaseException):
    """Raised in the midst of what takes too long; no parser may catch it."""


class Examiner:
    """Gives inputs to a target that is open.

    Attributes:
        inputs: how many it has given.
        refused: how many of them ended with an error that may come out.
    """

    def __init__(self, target: Target, read: Read) -> None:
        self._target = target
        self._read = read
        self._descriptors = _descriptors()
        self.inputs = self.refused = 0

    def examine(self, data: bytes) -> None:
        """Return an input.

        Raises:
            Find: it was not borne.
        """
        self.inputs += 1
        try:
            signal.setitimer(signal.ITIMER_PROF, CPU_LIMIT)
            try:
                self._read(data)
            finally:
                signal.setitimer(signal.ITIMER_PROF, 0)
        except TooSlow:
            raise Find(f"took more than {CPU_LIMIT:g} s", data) from None
        except AssertionError as error:
            raise Find(f"was wrong: {error}", data) from error
        except self._target.may_raise as error:
            self.refused += 1
            if not str(error):
                raise Find("had no words for an error", data) from error
        except Exception as error:
            raise Find(f"let {error!r} out", data) from error
        left = _descriptors() - self._descriptors
        if left > 0:
            raise Find(f"left {left} descriptors open", data)

    def look_closely(self, data: bytes, rng: random.Random) -> None:
        """See what an input costs, leaves, and costs where a part of it is endless.

        Raises:
            Find: it was not borne.
        """
        self.examine(data)  # what is made once, and kept, is made now
        tracemalloc.start()
        try:
            self.examine(data)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        if peak > self._target.held + MOST_HELD_PER_BYTE * len(data):
            raise Find(f"held {peak} bytes for {len(data)}", data)
        self._see_what_it_leaves(data)
        self.examine(stretched(data, self._target.longest, rng))

    def _see_what_it_leaves(self, data: bytes) -> None:
        # Python itself keeps something of the first hundreds, less and less; what leaks
        # goes on leaking.
        for _ in range(ROUNDS):
            gc.collect()
            before = sys.getallocatedblocks()
            for _ in range(TIMES):
                self.examine(data)
            gc.collect()
            left = sys.getallocatedblocks() - before
            if left < TIMES:
                return
        raise Find(f"kept {left} objects of {TIMES} times", data)


def stretched(data: bytes, longest: int, rng: random.Random) -> bytes:
    """Repeat a small part of an input until it is as long as it may be."""
    start = rng.randint(0, len(data))
    part = data[start : start + rng.randint(1, LONGEST_PART)] or b"\0"
    times = max(1, (longest - len(data)) // len(part))
    return data[:start] + part * times + data[start:]


@contextlib.contextmanager
def limits() -> Iterator[None]:
    """Stop what takes too long or too much memory, in this process, for good.

    What takes too much gets a MemoryError.
    """
    signal.signal(signal.SIGPROF, _stop)
    most = psutil.Process().memory_info().data + MOST_MEMORY
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (most, hard))
    gc.collect()
    gc.freeze()  # what is there already need not be looked at again
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise TooSlow


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))
