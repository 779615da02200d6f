"""A file that is there whole, or as it was before."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from pt_bridge.files.whole_file import write_whole

if TYPE_CHECKING:
    from pathlib import Path


def test_a_file_takes_the_place_of_another_and_is_its_owner_s(tmp_path: Path) -> None:
    """Whatever somebody has left under the name that it has meanwhile."""
    path, elsewhere = tmp_path / "file", tmp_path / "elsewhere"
    path.write_bytes(b"before")
    path.chmod(0o644)
    elsewhere.write_bytes(b"not ours")
    path.with_name("file.new").symlink_to(elsewhere)
    write_whole(str(path), b"after")
    assert path.read_bytes() == b"after"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert elsewhere.read_bytes() == b"not ours"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["elsewhere", "file"]


def test_what_cannot_be_written_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        write_whole(str(path), b"after")
    assert path.is_dir()
