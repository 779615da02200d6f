"""What a test run, and what it starts, do when they are told to stop."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType


def end_like_an_interrupt() -> None:
    """Treat SIGTERM as Ctrl-C from now on.

    So a run that ``timeout`` or a CI machine ends has its fixtures closed, which end
    the programs that it started; by default it would die and leave them running.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def pass_on_no_ignored_signal() -> None:
    """Let programs that are started from now on heed SIGINT and SIGHUP.

    A run that was begun with ``nohup``, or behind ``&`` in a script, ignores them, and
    would hand that on to programs that are tested for what they do at them. A handler
    is not handed on.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


def leave_every_block_at(*numbers: signal.Signals) -> None:
    """End at these signals as one that nobody stopped would: every block is left."""
    for number in numbers:
        signal.signal(number, _leave)


def _leave(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)
