"""What shadowsocks makes of its configuration, besides what its plugin is told."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from pt_bridge.doctor import config_check
from pt_bridge.doctor.report import Verdict
from pt_bridge.errors import OPTIONS
from pt_bridge.formats.profile import Profile

if TYPE_CHECKING:
    from pathlib import Path

    from pt_bridge.doctor.report import CheckResult

VARIABLES = {b"PATH": b"/usr/bin:/bin"}


def look(others: dict[str, object], *, server: bool = False) -> list[CheckResult]:
    """Look at a configuration with these further keys."""
    profile = Profile(password="of-this-server", plugin="/bin/sh", others=others)
    return config_check.look(profile, VARIABLES, server=server)


@pytest.mark.parametrize(
    "mode", [{}, {"mode": "tcp_only"}, {"plugin_mode": "tcp_only"}]
)
def test_tcp_alone_needs_no_word(mode: dict[str, object]) -> None:
    assert look(mode) == []


@pytest.mark.parametrize("key", ["mode", "plugin_mode"])
@pytest.mark.parametrize("server", [True, False])
def test_a_configuration_without_tcp_breaks_the_chain(
    key: str, *, server: bool
) -> None:
    (result,) = look({key: "udp_only"}, server=server)
    assert (result.has_failed, result.exit_code) == (True, OPTIONS)
    assert f"{key}=udp_only" in result.text
    assert "tcp_only" in result.advice


@pytest.mark.parametrize(
    ("key", "words"),
    [("mode", "UDP goes around it"), ("plugin_mode", "TCP alone")],
)
def test_udp_that_the_plugin_does_not_carry_is_told_of(key: str, words: str) -> None:
    (result,) = look({key: "tcp_and_udp"})
    assert result.verdict is Verdict.WARNING
    assert words in result.text


@pytest.mark.parametrize("server", [True, False])
def test_udp_that_is_carried_needs_no_word(*, server: bool) -> None:
    """SIP003u, as shadowsocks-rust has it."""
    both: dict[str, object] = {"mode": "tcp_and_udp", "plugin_mode": "tcp_and_udp"}
    profile = Profile(
        password="of-this-server",
        plugin="/bin/sh",
        plugin_opts="transport=obfs4;udp;cert=A",
        others=both,
    )
    assert config_check.look(profile, VARIABLES, server=server) == []


def test_a_mode_that_is_none_is_told_of() -> None:
    (result,) = look({"mode": "tcp"})
    assert result.verdict is Verdict.WARNING
    assert "tcp_and_udp, tcp_only, udp_only" in result.text


@pytest.mark.parametrize(
    ("plugin", "verdict", "words"),
    [
        ("/nowhere/pt-bridge", Verdict.FAILED, "no such program"),
        ("no-such-pt-bridge", Verdict.WARNING, "on this PATH"),
    ],
)
def test_a_plugin_that_shadowsocks_will_not_find_is_told_of(
    plugin: str, verdict: Verdict, words: str
) -> None:
    profile = Profile(password="of-this-server", plugin=plugin)
    (result,) = config_check.look(profile, VARIABLES)
    assert result.verdict is verdict
    assert words in result.text
    # Bare plugin options are no configuration of shadowsocks's.
    assert config_check.look(Profile(plugin=plugin), VARIABLES) == []


def test_what_an_acl_means_is_said(tmp_path: Path) -> None:
    acl = tmp_path / "some.acl"
    (result,) = look({"acl": str(acl)})
    assert result.has_failed
    assert "no such file" in result.text
    acl.write_text("[bypass_all]\n")
    (result,) = look({"acl": str(acl)})
    assert result.verdict is Verdict.OK
    assert "around pt-bridge" in result.text
    assert look({"acl": str(acl)}, server=True) == []


def test_a_local_port_that_another_program_has_is_told_of() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        profile = Profile(local_host="127.0.0.1", local_port=port)
        (result,) = config_check.look(profile, VARIABLES)
        assert result.verdict is Verdict.WARNING
        assert f"(pid {os.getpid()})" in result.text
        assert config_check.look(profile, VARIABLES, server=True) == []
    assert config_check.look(profile, VARIABLES) == []
