"""What a program that we run writes."""

from __future__ import annotations

import logging

import pytest

from pt_bridge.system.program_output import LastWords, ProgramLog
from pt_bridge.system.rate_limit import BURST


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        ([], ""),
        (["listening", "bind: permission denied"], "bind: permission denied"),
        (
            ["started", "panic: out of luck", "panic: again", "main.main()", "rip 0x4"],
            "panic: out of luck",
        ),
        (
            [
                "fatal error: failed to reserve page summary memory",
                "runtime stack:",
                "runtime.throw2({0x8a5e2b?, 0x0?})",
            ],
            "fatal error: failed to reserve page summary memory",
        ),
        (["SIGQUIT: quit", "PC=0x47 m=0 sigcode=0", "gs     0x0"], "SIGQUIT: quit"),
        (["http: panic serving 127.0.0.1", "the end"], "the end"),
    ],
)
def test_a_crash_is_told_by_its_first_line(lines: list[str], text: str) -> None:
    """ER-10: and anything else by its last."""
    words = LastWords()
    for line in lines:
        words.receive(line)
    assert words.text == text


def test_a_flood_is_held_back_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    """SE-10: warnings have a ration of their own, and who debugs sees all."""
    now = 1000.0
    log = ProgramLog("prog", lambda: now)
    caplog.set_level(logging.INFO, "pt_bridge")
    for number in range(BURST + 3):
        log.write(logging.INFO, f"line {number}")
    log.write(logging.DEBUG, "nobody sees it")
    assert log.take_news() == "prog: nobody sees it"
    assert log.take_news() == ""
    assert len(caplog.messages) == BURST
    log.write(logging.WARNING, "but this")
    now += 60.0
    log.write(logging.INFO, "later")
    assert caplog.messages[BURST:] == [
        "prog: but this",
        "prog wrote 3 more lines (loglevel=debug shows all)",
        "prog: later",
    ]
    caplog.clear()
    caplog.set_level(logging.DEBUG, "pt_bridge")
    for number in range(2 * BURST):
        log.write(logging.INFO, f"line {number}")
    assert len(caplog.messages) == 2 * BURST
