"""The exit codes, as the manual page and the page on troubles list them."""

from __future__ import annotations

import re

from pt_bridge.errors import DOCTORS_EXIT_CODES, EXIT_CODES

COLUMN = 6  # characters of the rule above the codes
WIDTH = 100  # characters of the whole table
TABLE = re.compile(r"(?<=\nExit codes\n----------\n\n).*?(?=\n\n)", re.DOTALL)


def sentences() -> list[tuple[str, str]]:
    """Return each exit code, in order, with the sentence that says what it means."""
    found = [(code, what) for code, (_, what) in EXIT_CODES.items()]
    for code, (_, what) in DOCTORS_EXIT_CODES.items():
        found.append((code, f"only ``doctor``: {what}"))
    return [(str(code), what) for code, what in sorted(found)]


def table() -> str:
    """Write them as a table in reStructuredText."""
    rule = f"{'=' * COLUMN}  {'=' * (WIDTH - COLUMN - 3)}"
    rows = [("code", "meaning"), *sentences()]
    lines = [f"{code:{COLUMN}}  {what}" for code, what in rows]
    return "\n".join((rule, lines[0], rule, *lines[1:], rule))


def with_table(page: str) -> str:
    """Return a page whose table of exit codes is the one that holds now."""
    return TABLE.sub(lambda _: table(), page)
