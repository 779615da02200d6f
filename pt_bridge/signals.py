"""The signals that stop us, and what a host may have left in their places."""

from __future__ import annotations

import os
import signal

INTERRUPT = signal.SIGINT
REPORT = signal.SIGUSR1
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def stopping() -> list[signal.Signals]:
    """Give the signals that stop us: not those that nohup or a script has ignored.

    SIGTERM does in any case: a host that inherited it ignored would wait for us without
    end (conformance HQ-03).
    """
    return [
        number
        for number in STOP_SIGNALS
        if number is signal.SIGTERM or signal.getsignal(number) is not signal.SIG_IGN
    ]


def stop_at_once(code: int = 0) -> None:
    """Where there is no bridge to stop, let a stop simply be our end.

    Args:
        code: the exit code.
    """
    for number in stopping():
        signal.signal(number, lambda *_: os._exit(code))
    signal.signal(REPORT, signal.SIG_IGN)  # else it would end us


def hold_back() -> None:
    """Keep signals that stop us until `let_in`."""
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)


def let_in() -> None:
    """Take every signal, those held back included, whatever a host has left us."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # if ignored: waitid(2), NOTES
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def ignore() -> None:
    """Hear of no stop any more: we are at our end."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
