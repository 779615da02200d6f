"""The arithmetic of what is told to operators."""

from __future__ import annotations

import pytest

from pt_bridge.metrics.figures import Histogram, rounded_up


def test_a_histogram_counts_what_took_no_longer_than_each_bound() -> None:
    """Prometheus's own kind: each bucket holds those before it, too."""
    histogram = Histogram()
    for seconds in (0.01, 0.05, 0.06, 29.0, 31.0):
        histogram.observe(seconds)
    buckets = dict(histogram.buckets)
    assert buckets["0.05"] == 2
    assert buckets["0.1"] == buckets["10.0"] == 3
    assert buckets["30.0"] == 4
    assert buckets["+Inf"] == 5
    assert histogram.total == pytest.approx(60.12)


@pytest.mark.parametrize(
    ("number", "told"), [(0, 0), (1, 8), (7, 8), (8, 8), (9, 16), (65_536, 65_536)]
)
def test_clients_are_told_of_in_eights(number: int, told: int) -> None:
    """As tor does, which rounds up."""
    assert rounded_up(number) == told
