"""What doctor is asked where a unit is named."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from pt_bridge.cli import of_service
from pt_bridge.cli.parser import command_line, flags_of
from pt_bridge.doctor.request import Request
from pt_bridge.errors import UsageError
from pt_bridge.files.unit import Service

if TYPE_CHECKING:
    from pathlib import Path

VARIABLES = {b"PATH": b"/usr/bin", b"STATE_DIRECTORY": b"/var/lib/pt-bridge"}


def amended(*words: str, request: Request | None = None) -> Request:
    """Name a service with this command."""
    service = Service(list(words), VARIABLES)
    found, variables = of_service.amend(
        request or Request(), service, command_line().parse_args, flags_of
    )
    assert found.is_service
    assert variables.items() >= VARIABLES.items()
    assert b"HOME" not in variables  # ours, and not the service's
    return found


def test_pt_bridge_s_own_command_is_read_as_it_reads_it() -> None:
    words = ("server", "--local", "127.0.0.1:8", "--remote", "0.0.0.0:443")
    options = ("--plugin-opts", "transport=obfs4", "--state", "keys")
    found = amended("/usr/local/bin/pt-bridge", *words, *options)
    assert (found.local, found.remote) == ("127.0.0.1:8", "0.0.0.0:443")
    assert found.plugin_opts == "transport=obfs4"
    assert found.flags == {"server": None, "state": "keys"}


def test_what_the_command_line_says_comes_first() -> None:
    words = ("client", "--local", "127.0.0.1:8", "--remote", "192.0.2.1:443")
    request = Request(remote="192.0.2.2:443", plugin_opts="transport=obfs3")
    found = amended("pt-bridge", *words, request=request)
    assert (found.remote, found.plugin_opts) == ("192.0.2.2:443", "transport=obfs3")
    assert found.flags == {}


def test_a_command_that_starts_no_bridge_is_told_of() -> None:
    with pytest.raises(UsageError, match="neither as client nor as server"):
        amended("pt-bridge", "help")


def test_shadowsocks_s_file_is_read_and_its_flags_come_first(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"server": "192.0.2.1", "server_port": 1, "acl": "x"}))
    assert amended("ss-local", "-c", str(path), "-u").text == path.read_text()
    found = amended("/usr/bin/ss-server", "-c", str(path), "-p", "8388")
    assert json.loads(found.text) == {
        "server": "192.0.2.1",
        "server_port": "8388",
        "acl": "x",
    }


def test_flags_alone_are_a_configuration() -> None:
    found = amended("ss-server", "-s", "192.0.2.1", "--plugin-opts", "server")
    assert json.loads(found.text) == {"server": "192.0.2.1", "plugin_opts": "server"}


def test_a_command_that_is_cut_is_told_of() -> None:
    with pytest.raises(UsageError, match="'-p' in it has no value"):
        amended("ss-server", "-p")
