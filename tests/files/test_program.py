"""A program that was found, and what it gets of our environment."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pt_bridge.errors import ProgramError
from pt_bridge.files import program
from pt_bridge.files.executable import package_of_plugin
from pt_bridge.files.owner_config import ProgramChoice

if TYPE_CHECKING:
    from pathlib import Path


def test_it_is_found_with_what_it_may_see_of_our_environment(tmp_path: Path) -> None:
    """PE-01, SE-03: an allow-list, and a PATH without surprises."""
    path = tmp_path / "prog"
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    folders = os.fsencode(f".:x:{tmp_path}")
    given = {b"PATH": folders, b"LANG": b"C", b"SS_REMOTE_HOST": b"secret"}
    found = program.find(ProgramChoice(["prog"], ["-x"]), given)
    assert (found.path, list(found.arguments)) == (str(path), ["-x"])
    assert found.inherited == {b"PATH": os.fsencode(tmp_path), b"LANG": b"C"}
    assert str(found) == str(path)
    assert str(found._replace(whence="conf, line 3")) == f"{path} (conf, line 3)"


def test_one_that_is_not_there_is_called_what_it_is() -> None:
    choice = ProgramChoice(["/nowhere/x"], whence="conf, line 1")
    with pytest.raises(ProgramError) as caught:
        program.find(choice, {}, what="plugin")
    assert str(caught.value) == (
        "there is no plugin /nowhere/x, which conf, line 1 names"
    )


def test_a_plugin_that_is_missing_is_told_where_it_is_to_be_had() -> None:
    with pytest.raises(ProgramError) as caught:
        program.find(ProgramChoice(["ck-client"]), {}, what="plugin")
    assert str(caught.value).startswith(
        "no plugin was found: install ck-client (Debian has none); looked in "
    )
    assert package_of_plugin("obfs-local") == "Debian: apt install simple-obfs"
