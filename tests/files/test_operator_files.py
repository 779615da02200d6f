"""The files that operators name: read, or refused in a sentence."""

from __future__ import annotations

import os
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest

from pt_bridge.errors import UsageError
from pt_bridge.files import operator_files
from pt_bridge.options.config import Config
from pt_bridge.options.ss_variables import variables_from_flags

if TYPE_CHECKING:
    from pathlib import Path

HERE, HERE6 = ip_address("1.0.0.1"), ip_address("2001:200::1")


def test_no_file_is_no_list() -> None:
    assert operator_files.networks("--deny", None) is None
    assert operator_files.countries("--geoip", None) is None


def test_a_list_is_read(tmp_path: Path) -> None:
    """A comment in any encoding is a comment."""
    path = tmp_path / "deny"
    path.write_bytes(b"# caf\xe9\n1.0.0.0/24\n")
    ranges = operator_files.networks("--deny", str(path))
    assert ranges is not None
    assert ranges.find(HERE) is not None


def test_a_wrong_line_is_named_with_the_option_and_the_file(tmp_path: Path) -> None:
    path = tmp_path / "deny"
    path.write_text("1.0.0.0/24\n1.0.0.300\n")
    with pytest.raises(UsageError) as caught:
        operator_files.networks("--deny", str(path))
    assert str(caught.value).startswith(f"--deny: {path}: line 2: '1.0.0.300' is no IP")


@pytest.mark.parametrize("is_ipv6_there", [True, False])
def test_the_file_for_ipv6_lies_beside_the_other(
    tmp_path: Path,
    is_ipv6_there: bool,  # noqa: FBT001
) -> None:
    """As Debian's tor-geoipdb puts them."""
    path = tmp_path / "geoip"
    path.write_text("16777216,16777471,AU\n")
    if is_ipv6_there:
        (tmp_path / "geoip6").write_text("2001:200::,2001:200::ffff,JP\n")
    countries = operator_files.countries("--geoip", str(path))
    assert countries is not None
    assert countries.of(HERE) == "AU"
    assert countries.of(HERE6) == ("JP" if is_ipv6_there else "??")


def test_what_is_no_file_of_countries_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "geoip"
    path.write_text("hello\n")
    with pytest.raises(UsageError) as caught:
        operator_files.countries("--geoip", str(path))
    assert str(caught.value).startswith(f"--geoip: {path}: it is not of the form of")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """And one that is no file holds nothing up."""
    for path in (tmp_path / "absent", tmp_path):
        with pytest.raises(UsageError, match=f"--deny: {path} cannot be read: "):
            operator_files.networks("--deny", str(path))
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    empty = operator_files.networks("--deny", str(fifo))
    assert empty is not None
    assert len(empty) == 0


def test_a_file_without_end_is_refused() -> None:
    with pytest.raises(UsageError, match="has more than 67108864 bytes"):
        operator_files.networks("--deny", "/dev/zero")


@pytest.mark.parametrize("option", ["deny", "allow", "geoip"])
def test_each_file_of_a_configuration_is_looked_at(option: str) -> None:
    variables = variables_from_flags(
        local="127.0.0.1:1", remote="127.0.0.1:2", plugin_options="transport=obfs4"
    )
    flags = {"server": None, option: "/nowhere/x"}
    config = Config(variables, plugin=False, flags=flags)
    with pytest.raises(UsageError, match=f"--{option}: /nowhere/x cannot be read"):
        operator_files.check(config)
    assert operator_files.named(config) == [f"--{option}"]
