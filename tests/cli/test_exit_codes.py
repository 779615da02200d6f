"""The exit codes, as --help lists them."""

from __future__ import annotations

import re

from pt_bridge.cli import exit_codes
from pt_bridge.errors import DOCTORS_EXIT_CODES, EXIT_CODES


def test_every_exit_code_is_listed_and_doctors_come_last() -> None:
    text = exit_codes.brief()
    ours, doctors = text.split("doctor's alone:")
    for part, table in ((ours, EXIT_CODES), (doctors, DOCTORS_EXIT_CODES)):
        assert [int(code) for code in re.findall(r"\b\d+\b", part)] == list(table)
    assert text.startswith("exit codes: 0 asked to stop; 64 usage; ")
    assert text.endswith("130, 143 a signal\n")
    assert max(map(len, text.splitlines())) <= exit_codes.WIDTH
