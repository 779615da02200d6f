"""Counting clients without knowing who they are."""

from __future__ import annotations

from pt_bridge.status.distinct_clients import MOST, DistinctClients


def test_each_client_is_counted_once_and_none_is_kept() -> None:
    """Demands 43: no address is in what is remembered, not even as its plain hash."""
    clients, others = DistinctClients(), DistinctClients()
    for host in ("192.0.2.1", "2001:db8::1", "192.0.2.1"):
        clients.add(host)
        others.add(host)
    assert (len(clients), str(clients)) == (2, "2")
    kept = clients._seen
    assert kept.isdisjoint(others._seen)
    assert all(b"192" not in each for each in kept)


def test_more_than_can_be_counted_are_said_to_be_more() -> None:
    """SE-10: memory is bounded."""
    clients = DistinctClients()
    for number in range(MOST + 10):
        clients.add(str(number))
    assert (len(clients), str(clients)) == (MOST, "65536 or more")
