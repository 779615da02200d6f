"""What Linux tells of processes, and what it must be told; elsewhere, the next best."""

from __future__ import annotations

import ctypes
import math
import os
import resource
import signal
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

LINUX = sys.platform == "linux"

PR_SET_PDEATHSIG = 1  # prctl(2)
PF_EXITING = 0x4  # include/linux/sched.h
STAT_SIZE = 4096  # more than /proc/PID/stat ever holds
FLAGS_FIELD = 6  # of /proc/PID/stat, counted behind the name, proc(5)
TIMEX_SIZE = 512  # more than struct timex has, adjtimex(2)
TFD_TIMER_ABSTIME = 1  # include/uapi/linux/timerfd.h
NANOSECONDS = 1_000_000_000  # of a second
TOLERANCE = 0.001  # seconds: so late an alarm may ring, as whatever waits with epoll
TIME_ERROR = 5  # include/linux/timex.h: nobody keeps the clock right


def raise_descriptor_limit() -> int:
    """Raise the soft limit of open files to the hard one; return the limit.

    The PT inherits it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):  # more than the system allows
            return soft
    return hard


def before_exec() -> Callable[[], None]:
    """Create what a child must do between fork and exec (subprocess's preexec_fn).

    The child gets default signal handlers, and dies with us whatever it does with its
    stdin (PR_SET_PDEATHSIG). Call this and spawn from the same thread: the kernel takes
    the thread that forked for the parent.
    """
    parent = os.getpid()
    prctl = ctypes.CDLL(None, use_errno=True).prctl if LINUX else None
    number = ctypes.c_ulong(signal.SIGKILL)
    catchable = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}

    def prepare() -> None:
        for each in catchable:
            signal.signal(each, signal.SIG_DFL)
        if prctl is not None:
            prctl(PR_SET_PDEATHSIG, number)
            if os.getppid() != parent:  # it died before prctl
                os._exit(1)

    return prepare


def open_stat(pid: int) -> int | None:
    """Open what `is_ending` reads, while descriptors are left; None without /proc."""
    try:
        return os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # no /proc
        return None


def is_ending(process_stat: int | None) -> bool:
    """Return whether a process has begun to exit, even where nobody was told yet.

    The kernel closes a dying process's sockets before it reports the death, so an EOF
    from a killed PT looks like one that was meant (RL-11).

    Args:
        process_stat: what `open_stat` gave.
    """
    if process_stat is None:
        return False
    try:
        stat = os.pread(process_stat, STAT_SIZE, 0)
    except ProcessLookupError:  # reaped
        return True
    fields = stat.rpartition(b")")[2].split(None, FLAGS_FIELD + 1)
    return fields[0] in (b"Z", b"X") or bool(int(fields[FLAGS_FIELD]) & PF_EXITING)


def is_clock_synchronised() -> bool | None:
    """Return whether something keeps this machine's clock right (NTP, mostly).

    The kernel takes that back when the clock is set by hand, or nothing corrects it for
    hours (adjtimex(2)). None where it cannot be known.
    """
    if not LINUX:
        return None
    nothing_to_change = ctypes.create_string_buffer(TIMEX_SIZE)
    state = ctypes.CDLL(None, use_errno=True).adjtimex(nothing_to_change)
    return None if state < 0 else bool(state != TIME_ERROR)


class Alarm:
    """Makes a descriptor readable at a given time (timerfd_create(2))."""

    def __init__(self) -> None:
        """Create one that does not ring.

        Raises:
            OSError: the system has none, or is short of descriptors.
        """
        libc = ctypes.CDLL(None, use_errno=True)
        try:
            create, self._set = libc.timerfd_create, libc.timerfd_settime
        except AttributeError as error:  # another system
            raise OSError("no timerfd") from error
        flags = os.O_NONBLOCK | os.O_CLOEXEC
        self._time = (ctypes.c_long * 4)()  # struct itimerspec: no interval, the time
        self._rings_at = math.inf
        self._descriptor: int = create(time.CLOCK_MONOTONIC, flags)
        # A sandbox may forbid either.
        if self._descriptor < 0 or self._set(self._descriptor, 0, self._time, None):
            number = ctypes.get_errno()
            if self._descriptor >= 0:
                self.close()
            raise OSError(number, os.strerror(number))

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._descriptor

    def rings_by(self, when: float) -> bool:
        """Return whether it rings then, or earlier."""
        return self._rings_at <= when + TOLERANCE

    def set(self, when: float) -> None:
        """Ring then, and at no other time; a time is in seconds of the steady clock."""
        seconds = int(when)
        self._time[2], self._time[3] = seconds, int((when - seconds) * NANOSECONDS)
        self._set(self._descriptor, TFD_TIMER_ABSTIME, self._time, None)
        self._rings_at = when

    def stop(self) -> None:
        """Ring no more: what has rung can be read until then."""
        os.read(self._descriptor, 8)
        self._rings_at = math.inf

    def close(self) -> None:
        """Ring never again."""
        os.close(self._descriptor)


def create_alarm() -> Alarm | None:
    """Create an alarm; None where the system has none, or is short of descriptors."""
    try:
        return Alarm()
    except OSError:
        return None


def watch_process(
    loop: asyncio.AbstractEventLoop,
    pid: int,
    on_ended: Callable[[], None],
    *,
    has_ended: Callable[[], bool],
    interval: float,
    pidfd: bool = True,
) -> Callable[[], None]:
    """Call `on_ended` once, when a process ends.

    Args:
        loop: the event loop.
        pid: the process; the caller knows that the number is still its own.
        on_ended: called from the loop.
        has_ended: tells the same, for systems that have no pidfd.
        interval: how often to ask it there, in seconds.
        pidfd: False asks even where there are pidfds.

    Returns:
        A function that stops watching; it may be called at any time, and again.
    """
    descriptor = _open_pidfd(pid) if pidfd else None
    timer: asyncio.TimerHandle | None = None

    def stop() -> None:
        nonlocal descriptor
        if descriptor is not None:
            loop.remove_reader(descriptor)
            os.close(descriptor)
            descriptor = None
        if timer is not None:
            timer.cancel()

    def look() -> None:
        nonlocal timer
        if descriptor is None and not has_ended():
            timer = loop.call_later(interval, look)
        else:
            stop()
            on_ended()

    if descriptor is not None:
        loop.add_reader(descriptor, look)
    else:
        timer = loop.call_later(0, look)
    return stop


def _open_pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):  # another system, or a sandbox that forbids it
        return None
