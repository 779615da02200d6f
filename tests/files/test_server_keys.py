"""The files by which a server's clients know it, kept for the next PT."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from pt_bridge.files import server_keys
from pt_bridge.files.server_keys import MAX_FILES, MAX_SIZE
from tests.support.processes import mode

if TYPE_CHECKING:
    from pathlib import Path

KEYS = {"obfs4_state.json": b'{"private-key": "00"}', "obfs4_bridgeline.txt": b"Bridge"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A PT's folder with its keys."""
    for name, content in KEYS.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def test_what_was_read_is_there_again_after_the_folder_was_deleted(
    folder: Path,
) -> None:
    """A restarted server has the same identity."""
    kept = server_keys.read(str(folder))
    assert kept == KEYS
    shutil.rmtree(folder)
    folder.mkdir()
    assert server_keys.restore(str(folder), kept) == sorted(KEYS)
    assert server_keys.read(str(folder)) == KEYS
    assert {mode(path) for path in folder.iterdir()} == {0o600}


def test_what_is_still_there_stays(folder: Path) -> None:
    """A PT may have written something newer, or the owner may have."""
    kept = server_keys.read(str(folder))
    (folder / "obfs4_state.json").write_bytes(b"newer")
    (folder / "obfs4_bridgeline.txt").write_bytes(b"")  # a full disk leaves such
    assert server_keys.restore(str(folder), kept) == ["obfs4_bridgeline.txt"]
    assert (folder / "obfs4_state.json").read_bytes() == b"newer"


def test_only_small_files_are_kept_and_only_a_few(folder: Path) -> None:
    """SE-10: a log may have grown there, or a link may lead anywhere."""
    (folder / "obfs4proxy.log").write_bytes(bytes(MAX_SIZE + 1))
    (folder / "largest").write_bytes(bytes(MAX_SIZE))
    (folder / "link").symlink_to("/etc/passwd")
    (folder / "folder").mkdir()
    os.mkfifo(folder / "pipe")
    assert set(server_keys.read(str(folder))) == {*KEYS, "largest"}
    for number in range(2 * MAX_FILES):
        (folder / f"a{number}").write_bytes(b"x")
    assert len(server_keys.read(str(folder))) == MAX_FILES


def test_a_link_is_replaced_and_never_written_through(folder: Path) -> None:
    """SE-01: somebody could have put one there."""
    kept = server_keys.read(str(folder))
    for name in KEYS:
        (folder / name).unlink()
        (folder / name).symlink_to(folder / "elsewhere")
    (folder / "elsewhere").write_bytes(b"")
    assert server_keys.restore(str(folder), kept) == sorted(KEYS)
    assert (folder / "elsewhere").read_bytes() == b""


def test_what_cannot_be_written_is_told(folder: Path) -> None:
    """ER-08."""
    kept = server_keys.read(str(folder))
    shutil.rmtree(folder)
    with pytest.raises(OSError, match="No such file"):
        server_keys.restore(str(folder), kept)
