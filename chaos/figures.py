"""What a run came to, for people to read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chaos.remains import MIB
from chaos.schedule import Misdeed, Route

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from chaos.remains import Holding
    from chaos.schedule import Cast
    from chaos.traffic import Count

PT_KILLS = (Misdeed.KILL_CLIENT_PT, Misdeed.KILL_SERVER_PT, Misdeed.FORGET)
NAME_WIDTH = 44


@dataclass(frozen=True)
class Figures:
    """Everything that was counted.

    Attributes:
        seed: what the run was made from.
        seconds: how long misdeeds were done.
        casts: which PTs each route had, and what its client's session= was.
        done: how often each was.
        skipped: how many were not, for what they are done to was down.
        counts: what became of the connections of each route.
        in_window: how many failed, and a misdeed explains it.
        otherwise: how many failed, and none does.
        checked: how many bytes were looked at and right.
        longest_start: how long a killed PT took at most to be ready again (seconds).
        longest_orphan: how long what ss-server left took at most to end (seconds).
        before: what each pt-bridge held at first.
        after: the same, at the end.
    """

    seed: int
    seconds: float
    casts: Mapping[Route, Cast]
    done: Mapping[Misdeed, int]
    skipped: int
    counts: Mapping[Route, Count]
    in_window: Mapping[Route, int]
    otherwise: Mapping[Route, int]
    checked: int
    longest_start: float
    longest_orphan: float
    before: Mapping[str, Holding]
    after: Mapping[str, Holding]

    @property
    def kills(self) -> int:
        """How many PTs were killed."""
        return sum(self.done.get(each, 0) for each in PT_KILLS)


def lines(figures: Figures) -> list[str]:
    """Write the figures, one a line."""
    rows: list[tuple[str, object]] = [
        ("seed", figures.seed),
        ("seconds", f"{figures.seconds:g}"),
        ("PTs killed and started again", figures.kills),
        ("  longest until ready again", f"{figures.longest_start:.2f} s"),
    ]
    rows += [
        (
            f"PTs, {route.value}",
            f"{cast.client} to {cast.server}, session={cast.session}",
        )
        for route, cast in figures.casts.items()
    ]
    rows += [(f"  {each.value}", figures.done.get(each, 0)) for each in Misdeed]
    rows += [
        ("  left out, for it was down still", figures.skipped),
        ("pt-bridge and PT gone after ss-server", f"{figures.longest_orphan:.2f} s"),
    ]
    for route in Route:
        count = figures.counts[route]
        rows += [
            (f"connections tried, {route.value}", count.tried),
            ("  whole", count.whole),
            ("  cut on purpose", count.cut_on_purpose),
            ("  failed in the window of a misdeed", figures.in_window[route]),
            ("  failed otherwise", figures.otherwise[route]),
        ]
    rows.append(("bytes checked", figures.checked))
    for name, before in figures.before.items():
        if name in figures.after:
            rows.append((name, _changed(before, figures.after[name])))
    rows.append(
        (
            "to repeat",
            f"scripts/chaos --seconds {figures.seconds:g} --seed {figures.seed}",
        )
    )
    return [f"{name:{NAME_WIDTH}}{value}" for name, value in rows]


def _changed(before: Holding, after: Holding) -> str:
    memory = f"{before.memory / MIB:.1f} -> {after.memory / MIB:.1f} MiB"
    then, now = (sum(each.descriptors.values()) for each in (before, after))
    tasks = "" if after.tasks is None else f", {before.tasks} -> {after.tasks} tasks"
    return f"{memory}, {then} -> {now} descriptors{tasks}"


def total(failed: Sequence[Route]) -> dict[Route, int]:
    """Count failures by route."""
    return {route: failed.count(route) for route in Route}
