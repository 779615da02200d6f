"""The PT that a configuration asks for, found and started."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pt_bridge.errors import ProgramError
from pt_bridge.files.owner_config import ProgramChoice
from pt_bridge.options.config import Config
from pt_bridge.options.ss_variables import variables_from_flags
from pt_bridge.protocol import pt_environment
from pt_bridge.pt import program
from tests.support.processes import CLIENT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.processes import Bench

CONFIG = Config(
    variables_from_flags(
        local="127.0.0.1:1", remote="127.0.0.1:2", plugin_options="transport=obfs3"
    )
)


def variables(bench: Bench) -> dict[bytes, bytes]:
    return {key.encode(): value.encode() for key, value in bench.variables.items()}


async def test_a_program_gets_what_it_is_to_get_and_no_more(bench: Bench) -> None:
    """PE-01, PE-03: an allow-list, a PATH without surprises, its arguments."""
    bench.pt.play(*CLIENT)
    given = {**variables(bench), b"SS_PLUGIN_OPTIONS": b"secret"}
    given[b"PATH"] = b".:relative:" + given[b"PATH"]
    found = program.find(ProgramChoice(["obfs4proxy"], ["-x", "a b"], "conf:3"), given)
    assert str(found) == f"{bench.pt.path} (conf:3)"
    wanted = pt_environment.client(["obfs3"], state=b"/state", proxy=None)
    async with found.child(CONFIG, wanted) as child:
        await child.ready(20)
        assert child.launch.transport == "obfs3"
        report = bench.pt.report()
    assert report["arguments"][1:] == ["-x", "a b"]
    told = report["environment"]
    assert told[b"TOR_PT_STATE_LOCATION"] == b"/state"
    assert b"SS_PLUGIN_OPTIONS" not in told
    assert told[b"PATH"].split(b":")[0] == os.fsencode(bench.pt.folder)


def test_without_a_path_it_gets_none(bench: Bench) -> None:
    found = program.find(ProgramChoice([str(bench.pt.path)]), {})
    assert str(found) == str(bench.pt.path)
    assert dict(found.inherited) == {}


def test_a_program_that_is_not_there_is_told_of() -> None:
    with pytest.raises(ProgramError, match="there is no program no-such-pt"):
        program.find(ProgramChoice(["no-such-pt"]), {})


def test_a_working_directory_that_is_gone_does_not_matter(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FE-15: a host may have been started in a folder that was removed."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    found = program.find(ProgramChoice(["obfs4proxy"]), variables(bench))
    assert found.path == str(bench.pt.path)
    monkeypatch.chdir("/")
