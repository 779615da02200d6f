"""The report: a table for the terminal, and everything as JSON."""

from __future__ import annotations

import json
import statistics
from typing import TYPE_CHECKING

from bench.contestants import CONTESTANTS
from bench.goals import PATH_NAMES, PATHS, UNITS, results

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.goals import Result, Samples

HEAD = ("", "pt-bridge", "the other", "its", "ratio", "goal", "")
BEHIND = "**behind**"
WIDTH = 88


def text(
    samples: Samples, facts: Mapping[str, str], rounds: int, failures: Sequence[str]
) -> str:
    """Write the report in reStructuredText.

    Args:
        samples: what was measured.
        facts: the machine and the versions.
        rounds: how many rounds there were.
        failures: what could not be measured, and why.
    """
    made = results(samples)
    behind = sum(result.is_met is False for result in made)
    with_goals = sum(result.is_met is not None for result in made)
    stated = (
        f"{facts['date']}, on {facts['cpu']} with {facts['cores']} cores, Linux "
        f"{facts['kernel']} (load of one minute and of five: before "
        f"{facts['load before']}, after {facts['load after']}), congestion control "
        f"{facts['congestion control']} (on loopback pt-bridge's, and that of the "
        f"measured connections' ends, is reno): Python "
        f"{facts['python']}, HAProxy {facts['HAProxy']}, ptadapter "
        f"{facts['ptadapter']}, obfs4proxy {facts['obfs4proxy']}, socat "
        f"{facts['socat']}, pt-bridge {facts['pt-bridge']}. Medians of {rounds} rounds "
        "in which all take turns, on loopback, or on a path of so many ms "
        f"there and back between two namespaces. {with_goals - behind} of {with_goals} "
        f"goals are met; what is behind its goal is marked. {facts.get('noise', '')}"
    )
    parts = [_fill(stated)]
    parts += [_fill(f"Not measured: {failure}") for failure in failures]
    if made:
        parts.append(_table(HEAD, [_cells(result) for result in made]))
    for names in (tuple(CONTESTANTS), PATH_NAMES):
        if others := _everyone(samples, names):
            parts.append(_table(("medians", *names), others))
    return "\n\n".join(parts) + "\n"


def _cells(result: Result) -> tuple[str, ...]:
    row = result.row
    unit = UNITS[row.quantity]
    return (
        row.what,
        number(result.ours, unit),
        row.other_quantity.partition(":")[0] or row.against or "-",
        "-" if result.theirs is None else number(result.theirs),
        "-" if result.ratio is None else number(result.ratio),
        "-" if row.goal is None else str(row.goal),
        BEHIND if result.is_met is False else "-" if row.goal is None else "met",
    )


def _everyone(samples: Samples, names: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the medians of all, for what more than two were measured at."""
    rows = []
    for quantity, unit in UNITS.items():
        is_of_path = quantity.startswith(PATHS)
        values = samples.get(quantity, {})
        if is_of_path is not (names is PATH_NAMES):
            continue
        if sum(bool(values.get(name)) for name in names) > 1:
            cells = [
                number(statistics.median(values[name])) if values.get(name) else "-"
                for name in names
            ]
            rows.append((f"{quantity} ({unit})" if unit else quantity, *cells))
    return rows


def number(value: float, unit: str = "") -> str:
    """Write a number with about three digits, and its unit."""
    digits = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 0.1 else 3
    plain = f"{value:,.{digits}f}"
    return f"{plain} {unit}".rstrip()


def _fill(paragraph: str) -> str:
    lines = [""]
    for word in paragraph.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > WIDTH:
            lines.append("")
        lines[-1] += f" {word}" if lines[-1] else word
    return "\n".join(lines)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Draw a simple table; an empty cell is a backslash, which shows as nothing."""
    cells = [[cell or "\\" for cell in row] for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    rule = "  ".join("=" * width for width in widths)
    lines = [
        "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True))
        for row in cells
    ]
    return "\n".join(line.rstrip() for line in (rule, lines[0], rule, *lines[1:], rule))


def document(
    samples: Samples,
    facts: Mapping[str, str],
    effort: Mapping[str, object],
    failures: Sequence[str],
) -> str:
    """Write everything as JSON.

    Args:
        samples: what was measured.
        facts: the machine and the versions.
        effort: how much was done for one sample.
        failures: what could not be measured, and why.
    """
    rows = [
        {
            "what": result.row.what,
            "unit": UNITS[result.row.quantity],
            "pt-bridge": result.ours,
            "against": result.row.other_quantity or result.row.against or None,
            "other": result.theirs,
            "ratio": result.ratio,
            "spread": result.spread,
            "goal": str(result.row.goal) if result.row.goal else None,
            "met": result.is_met,
        }
        for result in results(samples)
    ]
    everything = {
        "facts": facts,
        "effort": effort,
        "rows": rows,
        "samples": {
            quantity: {
                name: {
                    "median": statistics.median(values),
                    "min": min(values),
                    "max": max(values),
                    "values": values,
                }
                for name, values in of_all.items()
            }
            for quantity, of_all in samples.items()
        },
        "failures": failures,
    }
    return json.dumps(_rounded(everything), indent=1, ensure_ascii=False) + "\n"


def _rounded(value: object) -> object:
    """Leave no more digits than mean anything."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(each) for each in value]
    return value
