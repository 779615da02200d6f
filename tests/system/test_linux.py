"""What the kernel tells of processes, asked with real ones."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import resource
import select
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from pt_bridge.system import linux
from tests.support import restricted
from tests.support.processes import DEADLINE

if TYPE_CHECKING:
    from collections.abc import Iterator

INTERVAL = 0.01
FAR = 1000.0  # seconds: longer than any test
STA_UNSYNC = 0x40  # include/linux/timex.h
LIMITS = """
import resource
from pt_bridge.system import linux
limit = linux.raise_descriptor_limit()
print(limit, *resource.getrlimit(resource.RLIMIT_NOFILE))
"""

ALARM = """
import os
from pt_bridge.system import linux
before = os.listdir("/proc/self/fd")
print(linux.create_alarm(), os.listdir("/proc/self/fd") == before)
"""


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """A child that runs until its stdin ends, or it is killed."""
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a child, and wait until it is dead, without reaping it."""
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)


def has_ended(process: subprocess.Popen[bytes]) -> bool:
    options = os.WEXITED | os.WNOWAIT | os.WNOHANG
    return os.waitid(os.P_PID, process.pid, options) is not None


@contextlib.contextmanager
def stat_of(pid: int) -> Iterator[int]:
    """Open what tells of a process."""
    descriptor = linux.open_stat(pid)
    assert descriptor is not None
    yield descriptor
    os.close(descriptor)


def test_a_process_that_runs_is_not_ending(child: subprocess.Popen[bytes]) -> None:
    """RL-11."""
    with stat_of(child.pid) as descriptor:
        assert not linux.is_ending(descriptor)


def test_a_zombie_is_ending(child: subprocess.Popen[bytes]) -> None:
    """RL-11: dead, and nobody was told yet; and all the more once it is reaped."""
    with stat_of(child.pid) as descriptor:
        kill(child)
        assert linux.is_ending(descriptor)
        child.wait()
        assert linux.is_ending(descriptor)


def test_no_descriptor_is_needed_to_see_that_a_process_ends(
    child: subprocess.Popen[bytes],
) -> None:
    """RL-11: with a full table, a cut answer would look complete."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with stat_of(child.pid) as descriptor:
        kill(child)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
        try:
            assert linux.is_ending(descriptor)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_what_cannot_be_looked_at_is_not_ending(child: subprocess.Popen[bytes]) -> None:
    """RL-11: without /proc, no whole answer may become a reset."""
    child.kill()
    child.wait()
    assert linux.open_stat(child.pid) is None
    assert not linux.is_ending(None)


def test_a_program_with_brackets_in_its_name_is_not_ending() -> None:
    """/proc/PID/stat has the name in brackets, and it may hold some of its own."""
    name = "import ctypes; ctypes.CDLL(None).prctl(15, b') Z 1 (', 0, 0, 0)"
    with subprocess.Popen(
        [sys.executable, "-c", f"{name}; print(flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"\n"
        with stat_of(process.pid) as descriptor:
            assert not linux.is_ending(descriptor)
        process.kill()


@pytest.mark.parametrize("pidfd", [True, False])
async def test_a_process_that_ends_is_told_of_once(
    child: subprocess.Popen[bytes], *, pidfd: bool
) -> None:
    """The second way is for systems and sandboxes without pidfds."""
    told: list[None] = []
    event = asyncio.Event()

    def ended() -> None:
        told.append(None)
        event.set()

    stop = linux.watch_process(
        asyncio.get_running_loop(),
        child.pid,
        ended,
        has_ended=lambda: has_ended(child),
        interval=INTERVAL,
        pidfd=pidfd,
    )
    # One turn of the loop, in which the polling looks for the first time.
    await asyncio.sleep(0)
    assert not told
    child.kill()
    await event.wait()
    stop()
    stop()
    assert told == [None]


@pytest.mark.parametrize("pidfd", [True, False])
async def test_a_watch_that_is_stopped_tells_nothing(
    child: subprocess.Popen[bytes], *, pidfd: bool
) -> None:
    told: list[None] = []
    stop = linux.watch_process(
        asyncio.get_running_loop(),
        child.pid,
        lambda: told.append(None),
        has_ended=lambda: has_ended(child),
        interval=0,
        pidfd=pidfd,
    )
    kill(child)
    stop()
    # Turns of the loop in which it would have told.
    for _ in range(5):
        await asyncio.sleep(0)
    assert not told


async def test_a_process_that_is_gone_already_is_told_of(
    child: subprocess.Popen[bytes],
) -> None:
    """There is no pidfd for it any more."""
    child.kill()
    child.wait()
    event = asyncio.Event()
    linux.watch_process(
        asyncio.get_running_loop(),
        child.pid,
        event.set,
        has_ended=lambda: True,
        interval=INTERVAL,
    )
    await event.wait()


def test_the_limit_of_descriptors_is_raised_as_far_as_it_goes() -> None:
    """RL-06."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    low = min(hard, 64)
    shell = ["/bin/sh", "-c", f'ulimit -S -n {low}; exec "$@"', "sh"]
    done = subprocess.run(
        [*shell, sys.executable, "-c", LIMITS],
        capture_output=True,
        check=True,
        timeout=DEADLINE,
    )
    assert done.stdout.split() == [str(hard).encode()] * 3


def test_a_child_has_the_default_signal_handlers() -> None:
    """HQ-08: Python's own restore_signals leaves SIGABRT as it is."""
    numbers = (signal.SIGPIPE, signal.SIGABRT, signal.SIGHUP, signal.SIGUSR1)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        done = subprocess.run(
            ["/bin/grep", "SigIgn", "/proc/self/status"],
            capture_output=True,
            check=True,
            restore_signals=False,
            preexec_fn=linux.before_exec(),
            timeout=DEADLINE,
        )
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    ignored = int(done.stdout.split()[1], 16)
    assert [n for n in numbers if ignored & 1 << (n - 1)] == []


def test_a_child_dies_when_the_process_that_forked_it_does() -> None:
    """LC-03: whatever it does with its stdin and with SIGTERM."""
    program = (
        "import subprocess, sys\n"
        "from pt_bridge.system import linux\n"
        "child = subprocess.Popen(\n"
        "    ['/bin/sh', '-c', 'trap \"\" TERM HUP; exec tail -f /dev/null'],\n"
        "    preexec_fn=linux.before_exec())\n"
        "print(child.pid, flush=True)\n"
        "input()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        pidfd = os.pidfd_open(int(process.stdout.readline()))
        try:
            process.kill()
            assert select.select([pidfd], [], [], DEADLINE)[0], "it lives on"
        finally:
            os.close(pidfd)


def test_the_clock_is_kept_right_or_not_or_nobody_can_tell() -> None:
    """ER-13, adjtimex(2): STA_UNSYNC is bit 6 of the status, behind four longs."""
    timex = (ctypes.c_long * 64)()
    state = ctypes.CDLL(None).adjtimex(timex)
    is_kept = None if state < 0 else not timex[5] & STA_UNSYNC
    assert linux.is_clock_synchronised() is is_kept


def is_ringing(alarm: linux.Alarm, wait: float = 0) -> bool:
    return bool(select.select([alarm], [], [], wait)[0])


def test_an_alarm_rings_at_its_time_until_it_is_stopped() -> None:
    """It may be set again at any time, and rings at the last one alone."""
    with contextlib.closing(linux.Alarm()) as alarm:
        assert not alarm.rings_by(time.monotonic() + FAR)
        now = time.monotonic()
        alarm.set(now + FAR)
        assert not alarm.rings_by(now + FAR / 2)
        assert alarm.rings_by(now + FAR)
        assert not is_ringing(alarm)
        when = now + INTERVAL
        alarm.set(when)
        assert is_ringing(alarm, DEADLINE)
        assert time.monotonic() >= when
        alarm.stop()
        assert not is_ringing(alarm)
        assert not alarm.rings_by(now + FAR)


def test_an_alarm_may_be_set_to_what_is_past() -> None:
    """It rings at once."""
    with contextlib.closing(linux.Alarm()) as alarm:
        alarm.set(time.monotonic() - INTERVAL)
        assert is_ringing(alarm, DEADLINE)


@pytest.mark.parametrize("lacking", ["timerfd_create", "timerfd_settime"])
def test_without_an_alarm_nothing_is_left_of_the_try(lacking: str) -> None:
    """As in a sandbox that forbids it."""
    before = restricted.without(lacking)
    done = subprocess.run(
        [*before, sys.executable, "-c", ALARM],
        capture_output=True,
        check=True,
        timeout=DEADLINE,
    )
    assert done.stdout.split() == [b"None", b"True"]
