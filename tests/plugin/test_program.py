"""The program of another plugin: found, or this very pt-bridge."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pt_bridge.errors import OptionsError, ProgramError
from pt_bridge.files.owner_config import ProgramChoice
from pt_bridge.options.plugin_options import Via
from pt_bridge.plugin import program

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.processes import Bench

THIS = ProgramChoice(["pt-bridge"])


def test_one_is_found_as_a_pt_is(bench: Bench) -> None:
    plugin = bench.install("obfs-local")
    found = program.find(
        Via("obfs-local", "obfs=http"),
        ProgramChoice(["obfs-local"]),
        {b"PATH": os.fsencode(plugin.folder)},
        server=False,
    )
    assert found.path == str(plugin.path)
    with pytest.raises(ProgramError, match="there is no plugin /no/such"):
        program.find(Via("x", ""), ProgramChoice(["/no/such"]), {}, server=False)


def test_one_for_the_other_side_is_not(bench: Bench) -> None:
    with pytest.raises(OptionsError, match="via=obfs-server is for the server side"):
        program.find(
            Via("obfs-server", "obfs=http"),
            ProgramChoice([str(bench.pt.path)]),
            {},
            server=False,
        )


def test_pt_bridge_is_this_very_one_with_a_state_of_its_own(tmp_path: Path) -> None:
    """Or two servers for one port, one over the other, would share their keys."""
    variables = {b"XDG_STATE_HOME": os.fsencode(tmp_path), b"SS_X": b"y"}
    found = program.find(Via("pt-bridge", ""), THIS, variables, server=False)
    assert (found.path, found.whence) == (sys.executable, "this pt-bridge")
    folder = os.fsencode(tmp_path / "pt-bridge/via")
    assert found.inherited == {b"STATE_DIRECTORY": folder}
    again = program.find(Via("pt-bridge", ""), THIS, found.inherited, server=False)
    folder += b"/pt-bridge/via"
    assert again.inherited == {b"STATE_DIRECTORY": folder}
    done = subprocess.run(
        [found.path, *found.arguments],
        env=dict(found.inherited),
        stderr=subprocess.PIPE,
        check=False,
    )
    assert done.returncode == 64
    assert done.stderr.startswith(b"pt-bridge: error: SS_REMOTE_HOST is not set")


def test_without_a_state_directory_it_has_to_say_so_itself() -> None:
    variables = {b"HOME": b"/"}
    found = program.find(Via("pt-bridge", ""), THIS, variables, server=False)
    folder = found.inherited.get(b"STATE_DIRECTORY")
    assert folder == (None if os.geteuid() else b"/var/lib/pt-bridge/via")


def test_the_owner_may_name_another_pt_bridge(bench: Bench) -> None:
    choice = ProgramChoice([str(bench.pt.path)], [], "")
    given = choice._replace(whence="conf, line 1")
    bench.pt.folder.chmod(0o755)
    found = program.find(Via("pt-bridge", ""), given, {}, server=False)
    assert found.path == str(bench.pt.path)
    assert b"STATE_DIRECTORY" in found.inherited
