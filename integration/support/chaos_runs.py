"""Runs of ``scripts/chaos``, which go on while other tests run.

Misdeeds take 20 s of a run; then it may take two minutes until all is at rest. So the
next run begins when the misdeeds of the one before it are over.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, NamedTuple

from chaos.__main__ import BEYOND, MISDEEDS_ARE_OVER
from integration.support.endpoints import FIRST_PORT, OTHERS_PORTS
from integration.support.programs import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence

SECONDS = 20
# In these a client's PT is well whenever descriptors run out: pt-bridge ends where one
# dies without one to spare.
# In the first lyrebird is at both ends of a route, and so it is the last to be at rest.
SEEDS_OF_CI = (10, 43)
# What a run may take beyond the limit that it has itself (seconds).
TO_END = 30.0


class Ended(NamedTuple):
    """How a run ended.

    Attributes:
        code: its exit code.
        text: what it said.
    """

    code: int
    text: str


class ChaosRuns:
    """The runs of some seeds."""

    def __init__(self, seeds: Sequence[int] = SEEDS_OF_CI) -> None:
        """Begin with the first seed's."""
        self._programs: dict[int, subprocess.Popen[str]] = {}
        self._said: dict[int, list[str]] = {seed: [] for seed in seeds}
        self._first_ports = dict(zip(seeds, OTHERS_PORTS, strict=True))
        self._lock = threading.Lock()
        self._is_closed = False
        self._threads: dict[int, threading.Thread] = {}
        may_begin = threading.Event()
        may_begin.set()
        for seed in seeds:
            may_next = threading.Event()
            thread = threading.Thread(
                target=self._run, args=(seed, may_begin, may_next)
            )
            thread.start()
            self._threads[seed] = thread
            may_begin = may_next

    def _run(
        self, seed: int, may_begin: threading.Event, may_next: threading.Event
    ) -> None:
        may_begin.wait()
        try:
            with self._lock:
                if self._is_closed:
                    return
                program = self._programs[seed] = self._start(seed)
            assert program.stdout is not None
            with program:
                for line in program.stdout:
                    self._said[seed].append(line)
                    if line.startswith(MISDEEDS_ARE_OVER):
                        may_next.set()
        finally:
            may_next.set()

    def _start(self, seed: int) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "chaos"),
                *("--seconds", str(SECONDS), "--seed", str(seed)),
            ],
            cwd=ROOT,
            env={
                **os.environ,
                "PYTHONUNBUFFERED": "1",
                FIRST_PORT: str(self._first_ports[seed]),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def result(self, seed: int) -> Ended:
        """Return what came of a run, once it is over."""
        limit = len(self._threads) * (SECONDS + BEYOND + TO_END)
        self._threads[seed].join(limit)
        text = "".join(self._said[seed])
        assert not self._threads[seed].is_alive(), f"it goes on and on:\n{text}"
        return Ended(self._programs[seed].returncode, text)

    def close(self) -> None:
        """End what still runs; it ends what it has started."""
        with self._lock:
            self._is_closed = True
            programs = list(self._programs.values())
        for program in programs:
            program.terminate()
        for thread in self._threads.values():
            thread.join()
