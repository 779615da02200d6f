"""A server's clients, and its owner's files about them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pt_bridge.bridge.admission import DENIED, NOT_ALLOWED, TOO_MANY
from pt_bridge.bridge.clients import Clients
from pt_bridge.errors import UsageError
from pt_bridge.options.config import Config
from pt_bridge.options.ss_variables import variables_from_flags
from pt_bridge.protocol.address import Address
from pt_bridge.status.counts import Counts

if TYPE_CHECKING:
    from pathlib import Path

HERE, THERE = Address("192.0.2.1", 1), Address("2001:200::1", 2)


def clients(**options: str) -> tuple[Clients, Counts]:
    counts = Counts()
    values = {name.replace("_", "-"): value for name, value in options.items()}
    variables = variables_from_flags(
        local="127.0.0.1:1", remote="127.0.0.1:2", plugin_options="transport=obfs4"
    )
    config = Config(variables, flags={"server": None, **values})
    return Clients(config, counts), counts


def test_lists_are_read_again_and_a_wrong_one_changes_nothing(tmp_path: Path) -> None:
    """The old one goes on, and the wrong line is named."""
    deny = tmp_path / "deny"
    deny.write_text("192.0.2.0/24")
    known, counts = clients(deny=str(deny))
    known.read_files()()
    assert known.refuse_because(HERE) == DENIED
    deny.write_text("2001:200::/32\n192.0.2")
    with pytest.raises(UsageError, match="line 2"):
        known.read_files()
    assert known.refuse_because(HERE) == DENIED
    assert known.refuse_because(THERE) is None
    deny.write_text("2001:200::/32\n")
    use = known.read_files()
    assert known.refuse_because(HERE) == DENIED
    use()
    assert known.refuse_because(HERE) is None
    assert known.refuse_because(THERE) == DENIED
    assert counts.refusals == {DENIED: 4}


def test_an_allow_list_is_one_that_nobody_unknown_is_on(tmp_path: Path) -> None:
    allow = tmp_path / "allow"
    allow.write_text("192.0.2.0/24")
    known, _ = clients(allow=str(allow))
    known.read_files()()
    assert known.refuse_because(HERE) is None
    assert known.refuse_because(None) == NOT_ALLOWED


def test_who_is_there_is_counted() -> None:
    known, counts = clients(max_per_source="1")
    known.read_files()()
    known.enter(HERE)
    known.enter(None)
    assert known.refuse_because(HERE) == TOO_MANY
    known.leave(HERE)
    known.leave(None)
    assert known.refuse_because(HERE) is None
    assert counts.refusals == {TOO_MANY: 1}


def test_clients_are_counted_by_country_once_each(tmp_path: Path) -> None:
    """No address is kept."""
    (tmp_path / "geoip").write_text("3221225984,3221226239,XX\n")
    known, counts = clients(geoip=str(tmp_path / "geoip"))
    known.read_files()()
    for client in (HERE, HERE, Address("192.0.2.1", 9), THERE, Address("a.example", 1)):
        known.count(client)
    assert counts.countries == {"XX": 1, "??": 1}
    assert len(counts.clients) == 3


def test_without_a_file_there_are_no_countries() -> None:
    known, counts = clients()
    known.read_files()()
    known.count(HERE)
    assert (counts.countries, len(counts.clients)) == ({}, 1)
