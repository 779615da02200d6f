"""The owner's bridge lines by name."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pt_bridge.errors import OwnerFileError
from pt_bridge.files import bridges_file
from pt_bridge.files.owner_config import files
from tests.support.processes import as_ordinary_user

if TYPE_CHECKING:
    from pathlib import Path

ONE, TWO = "obfs4 192.0.2.1:443 cert=a iat-mode=0", "obfs3 192.0.2.2:80"


def read(folder: Path, text: str) -> list[str]:
    """Read a file as this user's own."""
    path = folder / "home.bridges"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return list(bridges_file.lines(path.read_bytes(), str(path)))


def test_a_file_holds_a_line_a_bridge(tmp_path: Path) -> None:
    """As people paste them, and with comments."""
    text = f"# mine\n\nBridge {ONE}\n  {TWO}  # at home\n"
    assert read(tmp_path, text) == [ONE, TWO]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("# nothing\n", "home.bridges holds no bridge line"),
        (f"{ONE}\nUseBridges 1\n", "home.bridges, line 2: "),
    ],
)
def test_what_is_no_bridge_line_is_told_of_with_its_line(
    tmp_path: Path, text: str, why: str
) -> None:
    with pytest.raises(OwnerFileError) as caught:
        read(tmp_path, text)
    assert why in str(caught.value)
    assert "cert=" not in str(caught.value)


def test_a_file_that_is_missing_is_told_of_with_where_it_should_be(
    tmp_path: Path,
) -> None:
    variables = {b"XDG_CONFIG_HOME": os.fsencode(tmp_path)}
    with pytest.raises(OwnerFileError) as caught:
        bridges_file.read("no-such", variables)
    text = str(caught.value)
    assert text.startswith("bridges=no-such needs a file with one bridge line a line: ")
    for path in files(variables):
        assert f"{path.removesuffix('.conf')}.d/no-such.bridges" in text


def test_this_users_own_file_is_read(tmp_path: Path) -> None:
    """A process of an ordinary user's is asked: root has the system's folder alone."""
    folder = tmp_path / "pt-bridge.d"
    folder.mkdir()
    (folder / "home.bridges").write_text(f"{TWO}\n")
    code = (
        "import os; from pt_bridge.files import bridges_file; "
        "print(*bridges_file.read('home', os.environb), sep='\\n')"
    )
    done = subprocess.run(
        [*as_ordinary_user(), sys.executable, "-c", code],
        env={"XDG_CONFIG_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"{TWO}\n"
