"""Nothing is lost where the wire is dead for a while."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from integration.support.outages import ALL_OUTAGES, OUTAGES, Outage, Outages

if TYPE_CHECKING:
    from integration.support.background import Background
    from integration.support.pairings import Pairing


@pytest.mark.parametrize("outage", ALL_OUTAGES, ids=str)
def test_nothing_is_lost_in_an_outage_of(
    outages: Background[Outages], outage: Outage
) -> None:
    wrong = outages.result().wrong
    if outage in wrong:
        raise wrong[outage]


@pytest.mark.parametrize(
    ("seconds", "pairing"),
    [(seconds, pairing) for seconds in OUTAGES for pairing in OUTAGES[seconds]],
    ids=str,
)
def test_the_service_is_reached_once_for_each_tunnel(
    outages: Background[Outages], seconds: int, pairing: Pairing
) -> None:
    result = outages.result()
    wrong = [each for each in result.wrong if each[:2] == (seconds, pairing)]
    assert (seconds, pairing) not in result.surplus, f"once too often; wrong: {wrong}"
