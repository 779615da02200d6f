"""What tests of whole tunnels are made with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.tunnel_rig import TunnelRig

if TYPE_CHECKING:
    from tests.support.processes import Bench


@pytest.fixture
def rig(bench: Bench) -> TunnelRig:
    return TunnelRig(bench)
