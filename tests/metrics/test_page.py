"""The page of numbers, read by Prometheus's own parser; and what the dashboard asks."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families as read

from pt_bridge.metrics.page import Page
from tests.support.some_figures import some_figures

if TYPE_CHECKING:
    from pt_bridge.metrics.figures import Figures

DASHBOARD = Path(__file__).parents[2] / "docs" / "grafana-dashboard.json"
OPENMETRICS = "application/openmetrics-text; version=1.0.0"
NAMES = re.compile(r"\b(?:pt_bridge|process)_\w+")


def samples(*bridges: Figures) -> dict[str, dict[str, float]]:
    """Read the page; return values by metric and by the label that is its own."""
    _, page = Page(lambda: bridges).write("")
    found: dict[str, dict[str, float]] = {}
    for family in read(page.decode()):
        for name, labels, value, *_ in family.samples:
            own = set(labels) - {"side", "transport"} - ({"name"} if labels else set())
            key = ",".join(labels[each] for each in sorted(own)) or labels.get("name")
            found.setdefault(name, {})[key or ""] = value
    return found


def test_prometheus_reads_every_number() -> None:
    """Under the names and the labels that the documentation lists."""
    found = samples(some_figures(open=1))
    assert found["pt_bridge_open_tunnels"] == {"a": 1}
    assert found["pt_bridge_tunnels_total"] == {"a": 2}
    assert found["pt_bridge_bytes_total"] == {"outbound": 3, "inbound": 4}
    assert found["pt_bridge_waiting_connections"] == {"a": 5}
    assert found["pt_bridge_dialling_connections"] == {"a": 6}
    assert found["pt_bridge_failures_total"] == {"no answer in time": 7}
    assert found["pt_bridge_refusals_total"] == {"on the deny list": 8}
    assert found["pt_bridge_cuts_total"] == {"a": 9}
    assert found["pt_bridge_reused_connections_total"] == {"a": 10}
    assert found["pt_bridge_dropped_datagrams_total"] == {"a": 13}
    assert found["pt_bridge_pt_restarts_total"] == {"a": 11}
    assert found["pt_bridge_pt_up"] == {"a": 1}
    assert found["pt_bridge_clients"] == {"DE": 16, "??": 8}
    assert found["pt_bridge_handshake_seconds_bucket"]["0.25"] == 0
    assert found["pt_bridge_handshake_seconds_bucket"]["0.5"] == 1
    assert found["pt_bridge_handshake_seconds_count"] == {"a": 1}
    assert found["process_open_fds"][""] > 0


def test_several_bridges_stand_on_one_page() -> None:
    """Each by the name that its owner gave it."""
    found = samples(some_figures("a", open=1), some_figures("b", open=2))
    assert found["pt_bridge_open_tunnels"] == {"a": 1, "b": 2}


def test_a_page_without_a_bridge_is_a_page() -> None:
    assert "pt_bridge_open_tunnels" not in samples()


def test_the_newer_format_is_written_for_who_asks_for_it() -> None:
    """Read by the library's own, stricter parser."""
    content_type, page = Page(lambda: [some_figures()]).write(OPENMETRICS)
    assert content_type.startswith("application/openmetrics-text")
    text = page.decode()
    families = list(openmetrics.text_string_to_metric_families(text))  # type: ignore[no-untyped-call]
    assert any(family.name == "pt_bridge_handshake_seconds" for family in families)


@pytest.fixture(scope="module")
def dashboard() -> dict[str, object]:
    loaded = json.loads(DASHBOARD.read_text())
    assert isinstance(loaded, dict)
    return loaded


def panels(dashboard: dict[str, object]) -> list[dict[str, object]]:
    found = dashboard["panels"]
    assert isinstance(found, list)
    return found


def test_every_metric_that_the_dashboard_asks_for_exists(
    dashboard: dict[str, object],
) -> None:
    """Or a panel would be empty, and nobody would know why."""
    known = set(samples(some_figures()))
    asked = set(NAMES.findall(json.dumps(dashboard)))
    assert asked <= known
    ours = {name for name in known if name.startswith("pt_bridge_")}
    assert ours - asked <= {
        "pt_bridge_info",
        "pt_bridge_handshake_seconds_sum",
        "pt_bridge_handshake_seconds_count",
        "pt_bridge_handshake_seconds_created",
    }


def test_the_dashboard_is_one_that_grafana_imports(
    dashboard: dict[str, object],
) -> None:
    """Its schema: an uid, a version, panels with types, places and data sources."""
    assert dashboard["uid"]
    assert isinstance(dashboard["schemaVersion"], int)
    seen = set()
    for panel in panels(dashboard):
        assert panel["id"] not in seen
        seen.add(panel["id"])
        assert panel["type"] in {"timeseries", "stat", "heatmap", "bargauge"}
        place = panel["gridPos"]
        assert isinstance(place, dict)
        assert place["x"] + place["w"] <= 24
        targets = panel["targets"]
        assert isinstance(targets, list)
        assert all(target["expr"] for target in targets)
        assert panel["datasource"] == {
            "type": "prometheus",
            "uid": "${DS_PROMETHEUS}",
        }
    assert seen


def test_no_panel_of_the_dashboard_covers_another(
    dashboard: dict[str, object],
) -> None:
    cells = set()
    for panel in panels(dashboard):
        place = panel["gridPos"]
        assert isinstance(place, dict)
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in cells
                cells.add((x, y))
