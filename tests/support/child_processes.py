"""Which processes another one has started, whatever happens to the machine's clock."""

from __future__ import annotations

import os
from pathlib import Path

import psutil


def children(pid: int) -> list[psutil.Process]:
    """Return the processes whose parent has this id; zombies are among them.

    psutil's own `children` leaves a child out that seems to be older than its parent.
    That is computed from the time at which the machine was started, which Linux rounds
    anew whenever it is read: while the clock is being adjusted it may be a second less
    for the child than it was for the parent.
    """
    return [
        psutil.Process(int(name))
        for name in os.listdir("/proc")
        if name.isdigit() and _parent_of(name) == pid
    ]


def _parent_of(name: str) -> int | None:
    try:
        stat = Path("/proc", name, "stat").read_bytes()
    except OSError:  # it has ended meanwhile
        return None
    # proc(5): behind the name, which may hold brackets, come state and parent.
    return int(stat.rpartition(b")")[2].split()[1])
