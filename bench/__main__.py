"""Measure all contestants in turn, several rounds, and report (``scripts/bench``)."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from bench import contestants, goals, machine, measures, plot, report
from bench.contestants import Placement
from bench.lanes import obfs4_lanes
from bench.path import lanes
from bench.processes import Unavailable
from tests.support.termination import leave_every_block_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bench.contestants import Relay
    from bench.measures import Effort, Values

FOLDER = Path(__file__).parent


@dataclasses.dataclass(frozen=True)
class Measure:
    """What is measured of relays.

    Attributes:
        take: takes one sample.
        asked: the contestants that the goals speak of.
        others: those that are measured, too, where there is time.
        placement: which cores they run on.
    """

    take: Callable[[Relay, Effort], Values]
    asked: Sequence[str]
    others: Sequence[str] = ()
    placement: Placement = Placement.FREE


def _round_trip(name: str, placement: Placement) -> Measure:
    return Measure(
        functools.partial(measures.round_trip, name=name),
        (goals.OURS, goals.OURS_PLAIN, "HAProxy"),
        (goals.OURS_01, "direct", "ptadapter", "socat"),
        placement,
    )


MEASURES = {
    "bulk": Measure(
        measures.bulk,
        (goals.OURS, goals.OURS_PLAIN, "HAProxy", "ptadapter"),
        (goals.OURS_01, "direct", "HAProxy splice", "socat"),
    ),
    "round-trip": _round_trip(goals.ONE_CORE, Placement.TOGETHER),
    "round-trip-apart": _round_trip(goals.TWO_CORES, Placement.APART),
    "connecting": Measure(
        measures.connecting,
        (goals.OURS, goals.OURS_PLAIN, "ptadapter", "HAProxy"),
        (goals.OURS_01, "direct"),
    ),
    "idle": Measure(measures.idle, (goals.OURS,), ("ptadapter", "HAProxy")),
    "fairness": Measure(
        measures.fairness, (goals.OURS, "HAProxy"), ("ptadapter",), Placement.APART
    ),
}
NAMES = (*MEASURES, "tasks", "obfs4", "start", "path")
TROUBLE = (
    Unavailable,
    OSError,
    ValueError,
    subprocess.SubprocessError,
    psutil.Error,
)


class Bench:
    """What was measured so far.

    Attributes:
        samples: of each quantity, of each contestant, the values of all rounds.
        failures: what could not be measured, and why.
    """

    def __init__(self, effort: Effort, names: Sequence[str], folder: Path) -> None:
        """Create one that has measured nothing.

        Args:
            effort: how much to do.
            names: what to measure, of `NAMES`.
            folder: where the processes may write.
        """
        self._effort = effort
        self._names = names
        self._folder = folder
        self.samples: dict[str, dict[str, list[float]]] = defaultdict(
            lambda: defaultdict(list)
        )
        self.failures: list[str] = []

    def run(self) -> None:
        """Take all samples."""
        for number in range(self._effort.rounds):
            for label, take in self._round(number):
                self._say(f"{number + 1}/{self._effort.rounds} {label}: ")
                began = time.monotonic()
                try:
                    take()
                except TROUBLE as error:
                    self.failures.append(f"{label}: {type(error).__name__}: {error}")
                    self._say(f"failed: {error}; ")
                self._say(f"{time.monotonic() - began:.1f} s\n")

    def _round(self, number: int) -> Iterator[tuple[str, Callable[[], None]]]:
        """Return what is to be done, in the order of this round."""
        for measure in self._names:
            if measure in MEASURES:
                of = MEASURES[measure]
                names = [*of.asked, *(of.others if self._effort.others else ())]
                names = [name for name in names if contestants.is_installed(name)]
                for name in _turned(names, number):
                    take = functools.partial(self._relay, of, name)
                    yield f"{measure}, {name}", take
            elif measure == "tasks":
                yield "tasks", self._tasks
            elif measure == "obfs4":
                yield "obfs4", functools.partial(self._obfs4, number)
            elif measure == "path":
                names = [name for name in goals.PATH_NAMES if lanes.is_installed(name)]
                for path in goals.PATHS:
                    for name in _turned(names, number):
                        take = functools.partial(self._path, name, path)
                        yield f"{path}, {name}", take
            else:
                yield "start", self._start

    def _relay(self, measure: Measure, name: str) -> None:
        with (
            self._work() as folder,
            contestants.placed(name, folder, measure.placement) as relay,
        ):
            self._add(name, measure.take(relay, self._effort))

    def _tasks(self) -> None:
        with (
            self._work() as folder,
            contestants.pt_bridge(folder, is_watched=True) as relay,
        ):
            self._add(goals.OURS, measures.idle_tasks(relay, self._effort))

    def _obfs4(self, number: int) -> None:
        with self._work() as folder, obfs4_lanes(folder) as ways:
            for way in _turned(list(ways), number):
                for name, values in measures.obfs4(ways, way, self._effort).items():
                    self._add(name, values)
            for name, values in measures.idle_session(ways, self._effort).items():
                self._add(name, values)

    def _path(self, name: str, path: str) -> None:
        with self._work() as folder:
            self._add(name, lanes.measure(name, path, folder))

    def _start(self) -> None:
        with self._work() as folder:
            for _ in range(self._effort.starts):
                for name, values in measures.start(folder).items():
                    self._add(name, values)

    @contextmanager
    def _work(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:
            yield Path(folder)

    def _add(self, name: str, values: Values) -> None:
        for quantity, each in values.items():
            self.samples[quantity][name] += each

    def _say(self, words: str) -> None:
        sys.stderr.write(words)
        sys.stderr.flush()


def _turned(names: Sequence[str], number: int) -> list[str]:
    """Rotate who begins, by the round."""
    first = number % len(names)
    return [*names[first:], *names[:first]]


def main() -> int:
    """Measure and report; return 1 where nothing could be measured at all."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Measure pt-bridge side by side with HAProxy, ptadapter, socat and "
        "a bare obfs4proxy. Writes bench/results.rst, .json and .png, but not with "
        "--quick or --only.",
    )
    parser.add_argument("--quick", action="store_true", help="less of all, in a minute")
    parser.add_argument(
        "--only", nargs="+", choices=NAMES, metavar="WHAT", help=", ".join(NAMES)
    )
    parser.add_argument(
        "--path", action="store_true", help="the long path alone, as --only path"
    )
    parser.add_argument("--rounds", type=int, metavar="N", help="how many rounds")
    given = parser.parse_args()
    effort = measures.QUICK if given.quick else measures.FULL
    if given.rounds:
        effort = dataclasses.replace(effort, rounds=given.rounds)
    only = ["path"] if given.path else given.only
    is_whole = not given.quick and not only

    leave_every_block_at(signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    facts = machine.facts()
    if machine.is_busy():
        facts["noise"] = "Other programs ran here, too: the numbers are noisy."
        sys.stderr.write(f"{facts['noise']}\n")
    with tempfile.TemporaryDirectory(prefix="pt-bridge-bench-") as folder:
        bench = Bench(effort, only or NAMES, Path(folder))
        bench.run()
    facts["load after"] = machine.load()
    samples = {quantity: dict(values) for quantity, values in bench.samples.items()}
    text = report.text(samples, facts, effort.rounds, bench.failures)
    sys.stdout.write(text)
    if is_whole and samples:
        (FOLDER / "results.rst").write_text(text)
        document = report.document(
            samples, facts, dataclasses.asdict(effort), bench.failures
        )
        (FOLDER / "results.json").write_text(document)
        plot.draw(samples, facts, FOLDER / "results.png")
    return 0 if samples else 1


if __name__ == "__main__":
    sys.exit(main())
