"""What good looks like: the rows of the report, and the goal of each (design 7)."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    # Of each quantity, of each contestant: the values of all rounds.
    Samples = Mapping[str, Mapping[str, Sequence[float]]]

OURS = "pt-bridge"
ONE_CORE, TWO_CORES = "round trip, one core", "round trip, two cores"
UNITS = {
    "up: throughput": "GB/s",
    "up: CPU": "s/GB",
    "down: throughput": "GB/s",
    "down: CPU": "s/GB",
    ONE_CORE: "µs",
    TWO_CORES: "µs",
    "connections": "/s",
    "connections, far end closes": "/s",
    "idle: memory": "KiB",
    "idle: descriptors": "",
    "idle: tasks": "",
    "alone: median": "µs",
    "alone: 99 %": "µs",
    "beside bulk: median": "µs",
    "beside bulk: 99 %": "µs",
    "obfs4, up: throughput": "GB/s",
    "obfs4, up: CPU": "s/GB",
    "obfs4, down: throughput": "GB/s",
    "obfs4, down: CPU": "s/GB",
    "obfs4 held at both ends, up: throughput": "GB/s",
    "obfs4 held at both ends, up: CPU": "s/GB",
    "obfs4 held at both ends, down: throughput": "GB/s",
    "obfs4 held at both ends, down: CPU": "s/GB",
    "held, idle: memory": "KiB",
    "held, idle: descriptors": "",
    "start": "ms",
}


@dataclass(frozen=True)
class Goal:
    """What a number is to be.

    Attributes:
        bound: the number it is held against.
        is_least: whether it is to be no less, and not no more.
    """

    bound: float
    is_least: bool = False

    def is_met(self, number: float) -> bool:
        """Tell whether a number is what it is to be."""
        return number >= self.bound if self.is_least else number <= self.bound

    def __str__(self) -> str:
        return f"{'>=' if self.is_least else '<='} {self.bound:g}"


def at_least(bound: float) -> Goal:
    """Make a goal."""
    return Goal(bound, is_least=True)


def at_most(bound: float) -> Goal:
    """Make a goal."""
    return Goal(bound)


@dataclass(frozen=True)
class Row:
    """One line of the report.

    Attributes:
        what: what it tells, for a reader.
        quantity: what was measured of pt-bridge.
        against: who it is compared with, or "".
        goal: for the ratio, or for the number itself where it is compared with nobody.
        other_quantity: what was measured of the other, where it is not the same.
    """

    what: str
    quantity: str
    against: str = ""
    goal: Goal | None = None
    other_quantity: str = ""


@dataclass(frozen=True)
class Result:
    """A row, and its numbers.

    Attributes:
        row: the row.
        ours: pt-bridge's median.
        theirs: the other's median, or None where there is no other.
        ratio: ours to theirs, or None.
        spread: the least and the greatest ratio (or number) of any one round.
    """

    row: Row
    ours: float
    theirs: float | None
    ratio: float | None
    spread: tuple[float, float]

    @property
    def is_met(self) -> bool | None:
        """Whether the goal is met, or None where there is none."""
        if self.row.goal is None:
            return None
        return self.row.goal.is_met(self.ours if self.ratio is None else self.ratio)


def _bulk(direction: str, words: str) -> list[Row]:
    throughput, cpu = f"{direction}: throughput", f"{direction}: CPU"
    return [
        Row(f"bulk {words}, throughput", throughput, "HAProxy", at_least(1.8)),
        Row(f"bulk {words}, throughput", throughput, "ptadapter", at_least(4)),
        Row(f"bulk {words}, CPU", cpu, "HAProxy", at_most(0.35)),
        Row(f"bulk {words}, CPU", cpu, "ptadapter", at_most(0.15)),
    ]


def _obfs4(direction: str, words: str) -> list[Row]:
    throughput, cpu = f"obfs4, {direction}: throughput", f"obfs4, {direction}: CPU"
    return [
        Row(f"through obfs4 {words}", throughput, "obfs4proxy", at_least(0.95)),
        Row(f"our CPU to its, {words}", cpu, "obfs4proxy", at_most(0.15)),
    ]


def _held_obfs4(direction: str, words: str) -> list[Row]:
    plain = f"obfs4, {direction}: throughput"
    held = f"obfs4 held at both ends, {direction}"
    throughput, cpu = f"{held}: throughput", f"{held}: CPU"
    return [
        Row(
            f"hold=both, {words}",
            throughput,
            "obfs4proxy",
            at_least(0.88),
            other_quantity=plain,
        ),
        Row(
            "the same, against hold=plain",
            throughput,
            OURS,
            at_least(0.92),
            other_quantity=plain,
        ),
        Row(f"our CPU to its, {words}", cpu, "obfs4proxy", at_most(0.3)),
    ]


ROWS = (
    *_bulk("up", "to the PT"),
    *_bulk("down", "to the host"),
    Row("64 bytes and back, one core", ONE_CORE, "HAProxy", at_most(0.95)),
    Row("64 bytes and back, two cores", TWO_CORES, "HAProxy", at_most(0.95)),
    *_obfs4("up", "to the server"),
    *_obfs4("down", "to the host"),
    *_held_obfs4("up", "to the server"),
    *_held_obfs4("down", "to the host"),
    Row("memory of an idle tunnel", "held, idle: memory", goal=at_most(5)),
    Row("descriptors of it", "held, idle: descriptors", goal=at_most(4)),
    Row("exec -> the port accepts", "start", "python -c pass", at_most(2)),
    Row("memory of an idle tunnel", "idle: memory", goal=at_most(2.5)),
    Row("descriptors of it", "idle: descriptors", goal=at_most(2)),
    Row("tasks of it", "idle: tasks", goal=at_most(0)),
    Row("new connections", "connections", "ptadapter", at_least(1.5)),
    Row(
        "the same, the far end closes",
        "connections, far end closes",
        "ptadapter",
        at_least(1.5),
    ),
    Row("new connections", "connections", "HAProxy"),
    Row("500 tunnels: 64 bytes and back", "alone: median", "HAProxy"),
    Row("the same, beside a bulk one", "beside bulk: median", "HAProxy"),
    Row(
        "the same, against no bulk",
        "beside bulk: median",
        OURS,
        other_quantity="alone: median",
    ),
)


def results(samples: Samples) -> list[Result]:
    """Give the rows for which everything was measured, and their numbers."""
    made = []
    for row in ROWS:
        ours = samples.get(row.quantity, {}).get(OURS)
        if not ours:
            continue
        median = statistics.median(ours)
        if not row.against:
            spread = min(ours), max(ours)
            made.append(Result(row, median, None, None, spread))
            continue
        theirs = samples.get(row.other_quantity or row.quantity, {}).get(row.against)
        if not theirs:
            continue
        other = statistics.median(theirs)
        ratios = [mine / its for mine, its in zip(ours, theirs, strict=False)]
        spread = min(ratios), max(ratios)
        made.append(Result(row, median, other, median / other, spread))
    return made
