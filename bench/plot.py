"""The plot: medians as bars, the spread as a line across each."""

from __future__ import annotations

import importlib
import statistics
from typing import TYPE_CHECKING

from bench.contestants import CONTESTANTS
from bench.goals import ONE_CORE, OURS, PATH_NAMES, PATHS, TWO_CORES, UNITS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bench.goals import Samples

PANELS = {
    "up: throughput": "one connection to the PT: throughput",
    "down: throughput": "one connection to the host: throughput",
    "up: CPU": "one connection to the PT: CPU",
    "down: CPU": "one connection to the host: CPU",
    ONE_CORE: "64 bytes and back, all on one core",
    TWO_CORES: "64 bytes and back, the relay on its own core",
    "connections": "new connections",
    "connections, far end closes": "new connections, the far end closes",
    "idle: memory": "memory of an idle tunnel",
    "beside bulk: median": "64 bytes and back, 500 tunnels beside a bulk one",
    f"{PATHS[0]}: first answer": "first answer of a tunnel, over 100 ms",
    f"{PATHS[0]}: page": "page of 30 objects, 6 at a time, over 100 ms",
    f"{PATHS[1]}: first answer": "first answer, 1 % of packets lost",
    f"{PATHS[1]}: page": "page, 1 % of packets lost",
}
ORDER = list(dict.fromkeys([*PATH_NAMES, *CONTESTANTS]))
COLUMNS = 2
OURS_COLOUR, OTHERS_COLOUR = "#1f6feb", "#b8bec7"
DOTS_PER_INCH = 90


def draw(samples: Samples, facts: Mapping[str, str], path: Path) -> None:
    """Draw what was measured into a PNG file."""
    matplotlib = importlib.import_module("matplotlib")
    matplotlib.use("Agg")
    pyplot = importlib.import_module("matplotlib.pyplot")
    rows = -(-len(PANELS) // COLUMNS)
    figure, axes = pyplot.subplots(rows, COLUMNS, figsize=(10, 2 * rows))
    for panel, (quantity, title) in zip(axes.flat, PANELS.items(), strict=False):
        values = samples.get(quantity, {})
        names = [name for name in reversed(ORDER) if values.get(name)]
        medians = [statistics.median(values[name]) for name in names]
        below = [
            median - min(values[name])
            for name, median in zip(names, medians, strict=True)
        ]
        above = [
            max(values[name]) - median
            for name, median in zip(names, medians, strict=True)
        ]
        colours = [OURS_COLOUR if name == OURS else OTHERS_COLOUR for name in names]
        panel.barh(names, medians, xerr=[below, above], color=colours, ecolor="#57606a")
        panel.set_title(f"{title} ({UNITS[quantity]})", fontsize=10)
        panel.tick_params(labelsize=8)
        panel.spines[["top", "right"]].set_visible(b=False)
    figure.suptitle(
        f"pt-bridge {facts['pt-bridge']}, {facts['date']}, {facts['cpu']} with "
        f"{facts['cores']} cores; medians, least and greatest",
        fontsize=10,
    )
    figure.tight_layout()
    # Nothing that changes with each run but the picture itself.
    figure.savefig(path, dpi=DOTS_PER_INCH, metadata={"Software": None})
