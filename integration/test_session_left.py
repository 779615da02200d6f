"""200 tunnels, closed in all the ways, leave not one socket."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from integration.support.pairings import PAIRINGS, Pairing

if TYPE_CHECKING:
    from integration.support.background import Background
    from integration.support.left import Left


@pytest.mark.parametrize("pairing", PAIRINGS, ids=str)
def test_200_tunnels_leave_no_socket(left: Background[Left], pairing: Pairing) -> None:
    result = left.result()
    if result.wrong[pairing]:
        raise ExceptionGroup("tunnels went wrong", result.wrong[pairing])
    assert not result.sockets[pairing]
