"""How pt-bridge is, in a few lines for the log (SIGUSR1): no address, no secret."""

from __future__ import annotations

import os
import resource

MIB = 1024 * 1024
MINUTE, HOUR, DAY = 60, 3600, 86_400


class Status:
    """What is counted while pt-bridge runs.

    Attributes:
        restarts: how often the PT was started again.
        opened: how many tunnels there have been, those still open included.
        open: how many tunnels there are.
        moved: how many bytes went through them, both directions together.
        is_counted: whether we have the tunnels at all.
    """

    def __init__(self, started: float) -> None:
        """Begin to count.

        Args:
            started: the time, in seconds of the clock that `lines` is given, too.
        """
        self._started = started
        self.restarts = 0
        self.opened = 0
        self.open = 0
        self.moved = 0
        self.is_counted = True

    def lines(self, *, now: float, pid: int, program: str) -> list[str]:
        """Describe everything.

        Args:
            now: the time.
            pid: the PT's process id, or 0 while there is none.
            program: the PT's name, and its version where it tells one.
        """
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        up = duration(now - self._started)
        return [
            f"up {up}; the PT was started again {times(self.restarts)}",
            self._tunnels(),
            f"pt-bridge, pid {os.getpid()}: {_usage(os.getpid())}, of {limit}",
            f"{program}, pid {pid}: {_usage(pid)}" if pid else "the PT does not run",
        ]

    def _tunnels(self) -> str:
        if not self.is_counted:
            return "tunnels: not counted, the PT connects to shadowsocks by itself"
        return f"tunnels: {self.open} open, {self.opened} in all; {self.moved} bytes"


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
