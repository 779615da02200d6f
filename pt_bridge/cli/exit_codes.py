"""The exit codes, as the help and the manual page list them."""

from __future__ import annotations

import textwrap

from pt_bridge.errors import DOCTORS_EXIT_CODES, EXIT_CODES

WIDTH = 88


def brief() -> str:
    """Return all of them in a few words each."""
    ours = "; ".join(f"{codes} {what}" for codes, what in rows(EXIT_CODES))
    doctors = "; ".join(f"{codes} {what}" for codes, what in rows(DOCTORS_EXIT_CODES))
    text = f"exit codes: {ours}; and doctor's alone: {doctors}"
    return textwrap.fill(text, WIDTH, break_on_hyphens=False) + "\n"


def rows(table: dict[int, tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the codes that mean the same, and what they mean, in a few words."""
    meanings: dict[str, list[str]] = {}
    for code, (meaning, _) in table.items():
        meanings.setdefault(meaning, []).append(str(code))
    return [(", ".join(codes), meaning) for meaning, codes in meanings.items()]
