"""What good looks like: the rows of the report, and the goal of each."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    # Of each quantity, of each contestant: the values of all rounds.
    Samples = Mapping[str, Mapping[str, Sequence[float]]]

# As they are called in front of a far end, and through obfs4proxy.
OURS, OURS_PLAIN, OURS_01 = "pt-bridge", "pt-bridge plain", "pt-bridge 0.1"
SESSION, PLAIN = "session", "plain"
OLD_BOTH, OLD_PLAIN = "0.1, hold=both", "0.1, hold=plain"
TCP, SHADOWSOCKS = "plain TCP", "shadowsocks"
MUX, NO_MUX = "v2ray-plugin, mux", "v2ray-plugin"
PATHS = ("100 ms", "100 ms, 1 % lost")
PATH_NAMES = (TCP, SHADOWSOCKS, MUX, NO_MUX, OURS, OURS_01)
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
    "session, idle: memory": "KiB",
    "session, idle: descriptors": "",
    "start": "ms",
    **{
        f"{path}: {what}": unit
        for path in PATHS
        for what, unit in (
            ("the very first answer", "ms"),
            ("first answer", "ms"),
            ("page", "s"),
            ("object", "ms"),
        )
    },
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
        """Return whether a number is what it is to be."""
        return number >= self.bound if self.is_least else number <= self.bound

    def __str__(self) -> str:
        return f"{'>=' if self.is_least else '<='} {self.bound:g}"


def at_least(bound: float) -> Goal:
    """Create a goal."""
    return Goal(bound, is_least=True)


def at_most(bound: float) -> Goal:
    """Create a goal."""
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
        ours: what it is called that is compared.
    """

    what: str
    quantity: str
    against: str = ""
    goal: Goal | None = None
    other_quantity: str = ""
    ours: str = OURS


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
        Row(f"bulk {words}, throughput", throughput, "HAProxy", at_least(2)),
        Row(f"bulk {words}, throughput", throughput, "ptadapter", at_least(4)),
        Row(f"bulk {words}, CPU", cpu, "HAProxy", at_most(0.3)),
        Row(f"bulk {words}, CPU", cpu, "ptadapter", at_most(0.15)),
        *_before(f"bulk {words}, throughput", throughput),
        *_before(f"bulk {words}, CPU", cpu),
    ]


def _before(what: str, quantity: str) -> list[Row]:
    """Return the rows that tell what the session costs, or gains."""
    return [Row(what, quantity, OURS_PLAIN), Row(what, quantity, OURS_01)]


def _connections(what: str, ours: str) -> list[Row]:
    closes = "connections, far end closes"
    return [
        Row(what, "connections", "ptadapter", at_least(2.5), ours=ours),
        Row(what, "connections", "HAProxy", at_least(0.65), ours=ours),
        Row(
            "the same, the far end closes",
            closes,
            "ptadapter",
            at_least(2.5),
            ours=ours,
        ),
    ]


def _obfs4(direction: str, words: str) -> list[Row]:
    throughput, cpu = f"obfs4, {direction}: throughput", f"obfs4, {direction}: CPU"
    return [
        Row(
            f"session through obfs4 {words}",
            throughput,
            "obfs4proxy",
            at_least(0.95),
            ours=SESSION,
        ),
        Row("the same, against plain", throughput, PLAIN, ours=SESSION),
        Row("the same, against 0.1", throughput, OLD_BOTH, ours=SESSION),
        Row("the same, against 0.1", throughput, OLD_PLAIN, ours=SESSION),
        Row(
            f"our CPU to the PT client's, {words}",
            cpu,
            "session's PT",
            at_most(0.15),
            ours=SESSION,
        ),
        Row("our CPU, against plain", cpu, PLAIN, ours=SESSION),
        Row("our CPU, against 0.1", cpu, OLD_BOTH, ours=SESSION),
        Row("our CPU, against 0.1", cpu, OLD_PLAIN, ours=SESSION),
    ]


def _path(path: str) -> list[Row]:
    first, page = f"{path}: first answer", f"{path}: page"
    others = (TCP, SHADOWSOCKS, MUX, NO_MUX, OURS_01)
    goals = {(first, TCP): at_most(0.55), (page, SHADOWSOCKS): at_most(0.6)}
    return [
        Row(f"{path}: {what}", quantity, other, goals.get((quantity, other)))
        for what, quantity in (("first answer", first), ("page of 30", page))
        for other in others
    ]


ROWS = (
    *_bulk("up", "to the PT"),
    *_bulk("down", "to the host"),
    Row("64 bytes and back, one core", ONE_CORE, "HAProxy", at_most(1.08)),
    *_before("64 bytes and back, one core", ONE_CORE),
    Row("64 bytes and back, two cores", TWO_CORES, "HAProxy", at_most(0.75)),
    *_before("64 bytes and back, two cores", TWO_CORES),
    *_obfs4("up", "to the server"),
    *_obfs4("down", "to the host"),
    Row("memory of an idle tunnel", "idle: memory", goal=at_most(3)),
    Row("descriptors of it", "idle: descriptors", goal=at_most(2)),
    Row("tasks of it", "idle: tasks", goal=at_most(0)),
    Row(
        "memory of an idle tunnel, obfs4",
        "session, idle: memory",
        goal=at_most(3),
        ours=SESSION,
    ),
    Row(
        "descriptors of it",
        "session, idle: descriptors",
        goal=at_most(2),
        ours=SESSION,
    ),
    Row("exec -> the port accepts", "start", "python -c pass", at_most(1.6)),
    *_connections("new tunnels, used connections", OURS),
    *_connections("new tunnels, plain, all fresh", OURS_PLAIN),
    Row("used connections, against fresh", "connections", OURS_PLAIN),
    *_before("new tunnels", "connections")[1:],
    Row("500 tunnels: 64 bytes and back", "alone: median", "HAProxy"),
    Row("the same, beside a bulk one", "beside bulk: median", "HAProxy"),
    Row(
        "the same, against no bulk",
        "beside bulk: median",
        OURS,
        other_quantity="alone: median",
    ),
    *(row for path in PATHS for row in _path(path)),
)


def results(samples: Samples) -> list[Result]:
    """Return the rows for which everything was measured, and their numbers."""
    made = []
    for row in ROWS:
        ours = samples.get(row.quantity, {}).get(row.ours)
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
