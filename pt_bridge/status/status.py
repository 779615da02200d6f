"""How pt-bridge is, in a few lines for the log (SIGUSR1): no address, no secret."""

from __future__ import annotations

import os
import resource
from typing import TYPE_CHECKING

from pt_bridge.status.failures import describe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pt_bridge.metrics.figures import Figures
    from pt_bridge.status.counts import Counts

MIB = 1024 * 1024
MINUTE, HOUR, DAY = 60, 3600, 86_400


def lines(
    figures: Figures,
    counts: Counts,
    *,
    up: float,
    pts: Sequence[tuple[str, int]],
    via: str = "",
    via_pid: int = 0,
    uncounted: str = "",
) -> list[str]:
    """Describe how a bridge is.

    Args:
        figures: its numbers.
        counts: what else it has counted.
        up: for how long it has run, in seconds.
        pts: of each PT, its name, and its version where it tells one, and its process
            id; or what is said of one that does not run, and 0.
        via: the name of the plugin outside the PT, or "" where none is wanted.
        via_pid: its process id, or 0 while there is none.
        uncounted: what is said in the place of the numbers of connections, where none
            comes to us, or "".
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    moved = figures.outbound + figures.inbound
    made = f"{figures.dialling} are being made, {figures.ready} are ready"
    counted = [
        f"tunnels: {figures.open} open, {figures.opened} in all; {moved} bytes",
        f"connections: {figures.waiting} wait, {made}",
    ]
    told = [f"up {duration(up)}; {_restarted(figures.restarts)}"]
    told += [uncounted] if uncounted else counted
    if figures.dropped:
        told.append(f"datagrams: {figures.dropped} were dropped")
    if counts.failures.by_cause:
        told.append(f"failed: {describe(counts.failures.by_cause)}")
    if len(counts.clients):
        told.append(f"clients: {counts.clients} different addresses")
    told += [
        f"pt-bridge, pid {os.getpid()}: {_usage(os.getpid())}, of {limit}",
        *(f"{pt}, pid {pid}: {_usage(pid)}" if pid else pt for pt, pid in pts),
    ]
    if via:
        how = f", pid {via_pid}: {_usage(via_pid)}" if via_pid else " does not run"
        told.append(f"{via}{how}")
    return told


def _restarted(number: int) -> str:
    if not number:
        return "the PT has not died"
    return f"the PT was started again {times(number)}"


def times(number: int) -> str:
    """Write how often something happened."""
    return {0: "never", 1: "once"}.get(number, f"{number} times")


def duration(seconds: float) -> str:
    """Write a time as people say it: ``3 d 4 h``, ``5 h 6 min``, ``7 min 8 s``."""
    whole = int(seconds)
    for unit, name, smaller, smaller_name in (
        (DAY, "d", HOUR, "h"),
        (HOUR, "h", MINUTE, "min"),
        (MINUTE, "min", 1, "s"),
    ):
        if whole >= unit:
            return f"{whole // unit} {name} {whole % unit // smaller} {smaller_name}"
    return f"{whole} s"


def _usage(pid: int) -> str:
    import psutil  # slow, and only needed here

    try:
        process = psutil.Process(pid)
        memory = process.memory_info().rss / MIB
        return f"{memory:.1f} MiB, {process.num_fds()} descriptors"
    except (psutil.Error, OSError):  # it is gone, or we have no descriptor left
        return "gone"
