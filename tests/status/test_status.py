"""How pt-bridge is, in a few lines."""

from __future__ import annotations

import os
import re
import subprocess
from typing import Any

import pytest

from pt_bridge.status.counts import Counts
from pt_bridge.status.status import duration, lines, times
from tests.support.some_figures import some_figures


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


def told(*, restarts: int = 0, **keywords: Any) -> list[str]:
    figures = some_figures(
        restarts=restarts,
        open=3,
        opened=40,
        outbound=4_000_000,
        inbound=1_000_000,
        dropped=keywords.pop("dropped", 0),
    )
    given = {"counts": Counts(), "up": 65.0, "pts": [("there is none", 0)], **keywords}
    return lines(figures, **given)


def test_a_status_tells_what_there_was() -> None:
    """Uptime, restarts, tunnels, bytes, memory and descriptors of both."""
    first, tunnels, connections, ours, pts = told(
        restarts=2, pts=[("lyrebird 0.8.1", os.getpid())]
    )
    assert first == "up 1 min 5 s; the PT was started again 2 times"
    assert tunnels == "tunnels: 3 open, 40 in all; 5000000 bytes"
    assert connections == "connections: 5 wait, 6 are being made, 12 are ready"
    usage = rf", pid {os.getpid()}: \d+\.\d MiB, \d+ descriptors"
    assert re.fullmatch(rf"pt-bridge{usage}, of \d+", ours)
    assert re.fullmatch(rf"lyrebird 0\.8\.1{usage}", pts)


@pytest.mark.parametrize(
    ("number", "text"), [(0, "never"), (1, "once"), (2, "2 times")]
)
def test_a_number_of_times_is_written_as_people_say_it(number: int, text: str) -> None:
    assert times(number) == text


def test_datagrams_that_were_dropped_are_told() -> None:
    assert "datagrams: 3 were dropped" in told(dropped=3)


def test_a_pt_that_is_not_there_is_no_trouble() -> None:
    """Between two of them, or just gone."""
    assert told()[0] == "up 1 min 5 s; the PT has not died"
    assert told()[-1] == "there is none"
    with subprocess.Popen(["/bin/true"]) as gone:
        gone.wait()
        line = told(pts=[("obfs4proxy", gone.pid)])[-1]
    assert line == f"obfs4proxy, pid {gone.pid}: gone"


def test_a_plugin_outside_the_pt_has_a_line_of_its_own() -> None:
    assert told(via="obfs-local")[-1] == "obfs-local does not run"
    line = told(via="obfs-local", via_pid=os.getpid())[-1]
    assert line.startswith(f"obfs-local, pid {os.getpid()}: ")


def test_a_status_says_why_it_counts_nothing() -> None:
    """With a PT that goes to a tor by itself; no zeros that mean nothing."""
    up, why, ours, _ = told(uncounted="clients: elsewhere")
    assert up.startswith("up ")
    assert why == "clients: elsewhere"
    assert ours.startswith("pt-bridge, ")


def test_a_status_tells_what_failed_and_how_many_came() -> None:
    """Demands 43: numbers, and nobody's address."""
    counts = Counts()
    for cause in ("no answer in time", "refused", "no answer in time"):
        counts.failures.add(cause)
    for host in ("192.0.2.1", "192.0.2.2", "192.0.2.1"):
        counts.clients.add(host)
    text = told(counts=counts)
    assert "failed: no answer in time (2), refused (1)" in text
    assert "clients: 2 different addresses" in text
    assert "192.0.2" not in "".join(text)
