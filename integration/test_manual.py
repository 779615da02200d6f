"""The manual page, and what it is made from."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from manual.__main__ import PAGE
from manual.page import text, troff
from pt_bridge.own_options import OPTIONS
from pt_bridge.transports import TRANSPORTS

if TYPE_CHECKING:
    from pathlib import Path

ROOT = PAGE.parent.parent


def test_the_manual_page_is_what_the_program_says_now() -> None:
    """Issue 6, item 7: it cannot drift; scripts/man writes it anew."""
    assert PAGE.read_bytes() == troff()


def test_the_manual_page_has_every_option_and_transport() -> None:
    """Issue 6, item 7."""
    page = text()
    for option in OPTIONS.values():
        name = f"{option.name}={option.value}" if option.value else option.name
        assert f"\n{name}\n" in page, name
    for transport in TRANSPORTS:
        assert f"\n{transport}\n".replace("_", "\\_") in page, transport


def test_the_manual_page_is_installed(tmp_path: Path) -> None:
    """Where man(1) finds it."""
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    install = [
        "install",
        "--no-deps",
        "--ignore-installed",
        "--prefix",
        str(tmp_path),
        str(ROOT),
    ]
    subprocess.run([*pip, *install], check=True, capture_output=True)
    (page,) = tmp_path.rglob("pt-bridge.1")
    assert page == tmp_path / "share/man/man1/pt-bridge.1"
