"""QR codes: on a terminal, square by square, and in files."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest
import segno

from pt_bridge.cli import qr_code
from pt_bridge.errors import OptionsError, UsageError
from tests.support.python import printed_by

if TYPE_CHECKING:
    from pathlib import Path

TEXT = "ss://bm9uZTp4@192.0.2.1:1/?plugin=pt-bridge"
PNG = b"\x89PNG\r\n\x1a\n"
BORDER = 4  # modules (ISO/IEC 18004, 9.1)


def test_the_terminal_shows_the_code_itself() -> None:
    """Two rows in a line, light on dark, with its border."""
    code = segno.make_qr(TEXT)
    lines = qr_code.draw(TEXT).splitlines()
    assert len(lines[0]) == code.symbol_size(border=BORDER)[0]
    rows = []
    for line in lines:
        rows.append([c in " \u2584" for c in line])  # dark above
        rows.append([c in " \u2580" for c in line])  # dark below
    inner = [row[BORDER:-BORDER] for row in rows[BORDER:]][: len(code.matrix)]
    assert inner == [[bool(module) for module in row] for row in code.matrix]


@pytest.mark.parametrize("name", ["code.png", "code.PNG", "code.svg"])
def test_a_file_is_its_owners_alone(tmp_path: Path, name: str) -> None:
    """It lets people in, as the link does; what stood there is replaced."""
    path = tmp_path / name
    path.write_bytes(b"before")
    qr_code.write(TEXT, str(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    content = path.read_bytes()
    if name.endswith(".svg"):
        assert b"<svg " in content
    else:
        assert content.startswith(PNG)


@pytest.mark.parametrize("name", ["code", "code.txt", "code.png.exe"])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"must end in \.png or \.svg"):
        qr_code.write(TEXT, str(tmp_path / name))


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--output: cannot write .*absent/x.png: no "):
        qr_code.write(TEXT, str(tmp_path / "absent" / "x.png"))


def test_what_no_code_can_hold_is_refused() -> None:
    with pytest.raises(OptionsError, match="2,900 characters, and here are 3000"):
        qr_code.draw("x" * 3000)


def test_a_missing_library_is_said_in_a_sentence() -> None:
    code = """if True:
        import sys
        sys.modules["segno"] = None
        from pt_bridge.cli import qr_code
        from pt_bridge.errors import UsageError

        assert not qr_code.is_possible()
        try:
            qr_code.draw("x")
        except UsageError as error:
            print(error)
    """
    assert printed_by(code).strip() == qr_code.MISSING
    assert qr_code.is_possible()
