"""How pt-bridge is, in a few lines."""

from __future__ import annotations

import os
import re
import subprocess

import pytest

from pt_bridge.status import Status, duration, times


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.9, "0 s"),
        (59.9, "59 s"),
        (60, "1 min 0 s"),
        (3599, "59 min 59 s"),
        (3600, "1 h 0 min"),
        (86_399, "23 h 59 min"),
        (90_000, "1 d 1 h"),
    ],
)
def test_a_time_is_written_as_people_say_it(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_status_counts_what_there_was() -> None:
    """Issue 4: uptime, restarts, tunnels, bytes, memory and descriptors of both."""
    status = Status(100.0)
    status.restarts, status.open, status.opened, status.moved = 2, 3, 40, 5_000_000
    first, tunnels, ours, pts = status.lines(
        now=165.0, pid=os.getpid(), program="lyrebird 0.8.1"
    )
    assert first == "up 1 min 5 s; the PT was started again 2 times"
    assert tunnels == "tunnels: 3 open, 40 in all; 5000000 bytes"
    usage = rf", pid {os.getpid()}: \d+\.\d MiB, \d+ descriptors"
    assert re.fullmatch(rf"pt-bridge{usage}, of \d+", ours)
    assert re.fullmatch(rf"lyrebird 0\.8\.1{usage}", pts)


def test_what_goes_around_us_is_not_counted() -> None:
    """hold=none: 0 would say that nobody is connected."""
    status = Status(0.0)
    status.is_counted = False
    line = status.lines(now=1.0, pid=0, program="")[1]
    assert line == "tunnels: not counted, the PT connects to shadowsocks by itself"


@pytest.mark.parametrize(
    ("number", "text"), [(0, "never"), (1, "once"), (2, "2 times")]
)
def test_a_number_of_times_is_written_as_people_say_it(number: int, text: str) -> None:
    assert times(number) == text


def test_a_pt_that_is_not_there_is_no_trouble() -> None:
    """Between two of them, or just gone."""
    status = Status(0.0)
    assert status.lines(now=1.0, pid=0, program="")[3] == "the PT does not run"
    with subprocess.Popen(["/bin/true"]) as gone:
        gone.wait()
        line = status.lines(now=1.0, pid=gone.pid, program="obfs4proxy")[3]
    assert line == f"obfs4proxy, pid {gone.pid}: gone"
