"""Write the manual page, and the documentation's share of it (``scripts/man``)."""

from __future__ import annotations

from pathlib import Path

from manual.exit_codes import with_table
from manual.options_page import options_page
from manual.page import troff

PAGE = Path(__file__).with_name("pt-bridge.1")
OPTIONS_PAGE = PAGE.parent.parent / "docs" / "options.rst"
TROUBLES_PAGE = OPTIONS_PAGE.with_name("troubleshooting.rst")

if __name__ == "__main__":
    PAGE.write_bytes(troff())
    OPTIONS_PAGE.write_text(options_page())
    TROUBLES_PAGE.write_text(with_table(TROUBLES_PAGE.read_text()))
