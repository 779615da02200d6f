"""A QR code of a text, for a terminal or for a file, by the library segno."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

from pt_bridge.errors import OptionsError, UsageError
from pt_bridge.files.whole_file import write_whole

if TYPE_CHECKING:
    from segno import QRCode

MISSING = (
    "a QR code needs the Python package segno: install it with pip install "
    "'pt-bridge[qr]', or on Debian apt install python3-segno"
)
# What a file's name may end in, and how large a square of the code is in it (pixels).
SUFFIXES = {".png": "png", ".svg": "svg"}
SCALE = 6


def is_possible() -> bool:
    """Whether segno is there."""
    try:
        import segno  # noqa: F401 - slow to import, and for what few ask for
    except ImportError:
        return False
    return True


def draw(text: str) -> str:
    """Return a QR code for a terminal of any width from some 50 columns on.

    Raises:
        UsageError: segno is not installed.
        OptionsError: no code can hold so much.
    """
    drawn = io.StringIO()
    _code(text).terminal(out=drawn, compact=True)
    return drawn.getvalue()


def write(text: str, path: str) -> None:
    """Write a QR code into a file that only its owner can read: it lets people in.

    Args:
        text: what it says.
        path: the file, which is replaced; it ends in ``.png`` or ``.svg``.

    Raises:
        UsageError: segno is not installed, or the file is of no such kind, or cannot be
            written.
        OptionsError: no code can hold so much.
    """
    kind = SUFFIXES.get(os.path.splitext(path)[1].lower())
    if kind is None:
        raise UsageError("--output must end in .png or .svg")
    content = io.BytesIO()
    _code(text).save(content, kind=kind, scale=SCALE)
    try:
        write_whole(path, content.getvalue())
    except OSError as error:
        why = (error.strerror or "").lower()
        raise UsageError(f"--output: cannot write {path}: {why}") from None


def _code(text: str) -> QRCode:
    try:
        import segno
    except ImportError:
        raise UsageError(MISSING) from None
    try:
        return segno.make_qr(text)
    except segno.DataOverflowError:
        raise OptionsError(
            f"a QR code holds some 2,900 characters, and here are {len(text)}"
        ) from None
