"""``pt-bridge help options``: what it explains."""

from __future__ import annotations

import pytest

from pt_bridge.cli.option_help import help_options
from pt_bridge.options.own_options import OPTIONS
from pt_bridge.options.transports import TRANSPORTS


@pytest.mark.parametrize("name", [*OPTIONS, *TRANSPORTS])
def test_each_option_and_each_transport_has_a_line(name: str) -> None:
    assert [line for line in help_options().splitlines() if line[2:].startswith(name)]
