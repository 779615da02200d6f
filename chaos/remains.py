"""What the programs hold, and what they leave, compared with what it was before."""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

from chaos.stage import bridge
from pt_bridge.relay.pipes import KEPT_PIPES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from chaos.stage import Stage

MIB = 1024 * 1024
# By how much a pt-bridge may have grown since its first connections (bytes). What it
# keeps of a burst is Python's own; a tunnel that leaks costs some KiB, and there are
# thousands.
MOST_GROWTH = 4 * MIB
KINDS = ("pipe", "socket", "other")
TASKS = "tasks "


@dataclass(frozen=True)
class Holding:
    """What one pt-bridge holds.

    Attributes:
        descriptors: how many, of each of `KINDS`.
        memory: bytes that are its own.
        tasks: how many asyncio tasks, where it tells.
    """

    descriptors: Mapping[str, int]
    memory: int
    tasks: int | None


def holdings(stage: Stage) -> dict[str, Holding]:
    """Look at all that is pt-bridge."""
    found = {}
    for route, ends in stage.ends.items():
        for side, program in (("client", ends.client), ("server", ends.server)):
            process = bridge(program)
            tasks = None
            if process.name().startswith("python"):  # it is watched
                said = len(program.output)
                program.signal(signal.SIGRTMIN)  # as bench.watched has it
                tasks = int(program.wait_for(TASKS, after=said).split()[1])
            memory = int(process.memory_full_info().uss)
            name = f"{route.value} {side}"
            found[name] = Holding(descriptors(process), memory, tasks)
    return found


def descriptors(process: psutil.Process) -> dict[str, int]:
    """Count what a process has open, of each kind."""
    kinds = dict.fromkeys(KINDS, 0)
    folder = f"/proc/{process.pid}/fd"
    for name in os.listdir(folder):
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            kind = os.readlink(f"{folder}/{name}").partition(":")[0]
            kinds[kind if kind in kinds else "other"] += 1
    return kinds


def growth(before: Holding, after: Holding) -> list[str]:
    """List what there is more of than before, apart from what may be."""
    told = []
    for kind in KINDS:
        now, then = after.descriptors[kind], before.descriptors[kind]
        kept = 2 * KEPT_PIPES if kind == "pipe" else 0
        if now > then + kept:
            told.append(f"{now} descriptors of kind '{kind}', and {then} before")
    if after.memory - before.memory > MOST_GROWTH:
        told.append(
            f"{after.memory / MIB:.1f} MiB of memory, and {before.memory / MIB:.1f} "
            f"before"
        )
    if after.tasks != before.tasks:
        told.append(f"{after.tasks} asyncio tasks, and {before.tasks} before")
    return told


def files(folder: Path) -> list[str]:
    """List what is in the folders that pt-bridge writes to, random names shortened."""
    found = []
    for path in folder.rglob("*"):
        parts = path.relative_to(folder).parts
        found.append(
            "/".join(
                "pt-bridge-client-*" if part.startswith("pt-bridge-client-") else part
                for part in parts
            )
        )
    return sorted(found)
