"""Figures of a bridge, each another number, so that none is taken for another."""

from __future__ import annotations

from typing import Any

from pt_bridge.metrics.figures import Figures, Histogram


def some_figures(name: str = "a", **changes: Any) -> Figures:
    """Return figures with a handshake of 0.3 s; `changes` stand in place of others."""
    handshakes = Histogram()
    handshakes.observe(0.3)
    figures = Figures(
        name=name,
        side="server",
        transport="obfs4",
        is_up=True,
        open=0,
        opened=2,
        outbound=3,
        inbound=4,
        waiting=5,
        dialling=6,
        ready=12,
        handshakes=handshakes,
        failures={"no answer in time": 7},
        refusals={"on the deny list": 8},
        cuts=9,
        reused=10,
        dropped=13,
        restarts=11,
        countries={"DE": 9, "??": 1},
    )
    return figures._replace(**changes)
