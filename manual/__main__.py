"""Write the manual page (``scripts/man``)."""

from __future__ import annotations

from pathlib import Path

from manual.page import troff

PAGE = Path(__file__).with_name("pt-bridge.1")

if __name__ == "__main__":
    PAGE.write_bytes(troff())
