"""The signals that we answer, and what shadowsocks may have left in their places."""

from __future__ import annotations

import os
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

INTERRUPT = signal.SIGINT
REPORT = signal.SIGUSR1
RELOAD = signal.SIGHUP
REPLACE = signal.SIGUSR2
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# What would end a program that knows nothing of it, and nobody means as a stop.
HARMLESS = (
    REPLACE,
    signal.SIGALRM,
    signal.SIGVTALRM,
    signal.SIGPROF,
    signal.SIGIO,
    signal.SIGPWR,
    signal.SIGSTKFLT,
)


def stopping() -> list[signal.Signals]:
    """Return the signals that stop us: not those that nohup or a script has ignored.

    SIGTERM does in any case: a shadowsocks that inherited it ignored would wait for us
    without end (HQ-03).
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
    for number in (REPORT, *HARMLESS):
        # Not ignored: a PT would inherit that.
        signal.signal(number, lambda *_: None)


def has_terminal() -> bool:
    """Whether a terminal controls us still, whose end SIGHUP would tell."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def hold_back() -> None:
    """Keep signals that stop us until `let_in`."""
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)


def let_in(*, but: Collection[signal.Signals] = ()) -> None:
    """Take every signal, those held back included, whatever was left to us.

    Args:
        but: those that are held back from now on.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # if ignored: waitid(2), NOTES
    signal.pthread_sigmask(signal.SIG_SETMASK, but)
