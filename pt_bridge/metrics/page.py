"""The figures of bridges as Prometheus reads them, through its own library."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector, CollectorRegistry

from pt_bridge import __version__
from pt_bridge.metrics.figures import Figures, rounded_up

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from prometheus_client.metrics_core import Metric

PREFIX = "pt_bridge"
LABELS = ("name", "side", "transport")
NUMBERS: tuple[tuple[str, str, Callable[[Figures], float]], ...] = (
    ("pt_up", "Whether a PT runs and is ready.", lambda each: each.is_up),
    ("open_tunnels", "Tunnels that are open.", lambda each: each.open),
    (
        "waiting_connections",
        "Connections that wait, for their first byte or for a PT.",
        lambda each: each.waiting,
    ),
    (
        "dialling_connections",
        "Connections that are being made.",
        lambda each: each.dialling,
    ),
)
COUNTERS: tuple[tuple[str, str, Callable[[Figures], float]], ...] = (
    ("tunnels", "Tunnels that there have been.", lambda each: each.opened),
    ("cuts", "Tunnels that ended before their end.", lambda each: each.cuts),
    (
        "reused_connections",
        "Tunnels that needed no handshake, over a connection that was used before.",
        lambda each: each.reused,
    ),
    ("dropped_datagrams", "Datagrams that were dropped.", lambda each: each.dropped),
    ("pt_restarts", "Times that a PT was started again.", lambda each: each.restarts),
)


class _Bridges(Collector):
    """Asks every bridge for its figures, each time that somebody reads the page."""

    def __init__(self, ask: Callable[[], Iterable[Figures]]) -> None:
        self._ask = ask

    def collect(self) -> Iterator[Metric]:
        """Yield every metric, with a sample for each bridge."""
        bridges = list(self._ask())
        info = InfoMetricFamily(PREFIX, "What runs here.")
        info.add_metric((), {"version": __version__})
        yield info
        for name, text, read in NUMBERS:
            gauge = GaugeMetricFamily(f"{PREFIX}_{name}", text, labels=LABELS)
            for each in bridges:
                gauge.add_metric(_labels(each), read(each))
            yield gauge
        for name, text, read in COUNTERS:
            counter = CounterMetricFamily(f"{PREFIX}_{name}", text, labels=LABELS)
            for each in bridges:
                counter.add_metric(_labels(each), read(each))
            yield counter
        yield from _by_more(bridges)


def _by_more(bridges: list[Figures]) -> Iterator[Metric]:
    """Write what has one label more, and the histogram."""
    moved = CounterMetricFamily(
        f"{PREFIX}_bytes", "Bytes that were carried.", labels=(*LABELS, "direction")
    )
    failures = CounterMetricFamily(
        f"{PREFIX}_failures", "Connections that failed.", labels=(*LABELS, "cause")
    )
    refusals = CounterMetricFamily(
        f"{PREFIX}_refusals",
        "Connections that somebody did not take.",
        labels=(*LABELS, "cause"),
    )
    clients = GaugeMetricFamily(
        f"{PREFIX}_clients",
        "Different clients since the start, rounded up to a multiple of 8.",
        labels=(*LABELS, "country"),
    )
    handshakes = HistogramMetricFamily(
        f"{PREFIX}_handshake_seconds",
        "How long the handshakes of the PT took.",
        labels=LABELS,
    )
    for each in bridges:
        labels = _labels(each)
        moved.add_metric((*labels, "outbound"), each.outbound)
        moved.add_metric((*labels, "inbound"), each.inbound)
        for family, counted in (
            (failures, each.failures),
            (refusals, each.refusals),
        ):
            for cause, number in sorted(counted.items()):
                family.add_metric((*labels, cause), number)
        for country, number in sorted(each.countries.items()):
            clients.add_metric((*labels, country), rounded_up(number))
        handshakes.add_metric(labels, each.handshakes.buckets, each.handshakes.total)
    yield from (moved, failures, refusals, clients, handshakes)


def _labels(figures: Figures) -> tuple[str, str, str]:
    return figures.name, figures.side, figures.transport


class Page:
    """The page: the figures of all bridges, and what the kernel says of the process."""

    def __init__(self, ask: Callable[[], Iterable[Figures]]) -> None:
        """Create one.

        Args:
            ask: returns the figures of all bridges as they are now.
        """
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Bridges(ask))
        ProcessCollector(registry=self._registry)

    def write(self, accept: str) -> tuple[str, bytes]:
        """Write it.

        Args:
            accept: the formats that the reader takes, as in HTTP's Accept.

        Returns:
            The format's content type, and the page.
        """
        encode, content_type = choose_encoder(accept)
        return content_type, encode(self._registry)
