"""Be process 1 of a container: reap orphans, while a child does the work.

Whose parent has ended becomes the first process's child, and stays a zombie until that
has waited for it. So where we are the first one, a child of ours does the work.
"""

from __future__ import annotations

import os
import signal

SI_KERNEL = 0x80  # sigaction(2): a terminal's Ctrl-C, which the child gets as well
KILLED = 128  # plus the signal: the exit code that shells have for it


def leave_work_to_child() -> None:
    """Fork, where we are the first process; return in the child, or at once elsewhere.

    Call this before there are threads. The first process passes signals on, and ends
    with its child's exit code.
    """
    if os.getpid() != 1:
        return
    signal.signal(
        signal.SIGCHLD, signal.SIG_DFL
    )  # if ignored, nobody could be waited for
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    child = os.fork()
    if not child:
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        return
    os._exit(_look_after(child))


def _look_after(child: int) -> int:
    """Reap whoever ends, until that is the child; return its exit code."""
    while True:
        told = signal.sigwaitinfo(signal.valid_signals())
        if told.si_signo != signal.SIGCHLD:
            if told.si_code != SI_KERNEL:
                os.kill(child, told.si_signo)
            continue
        # One signal may stand for several.
        while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG):
            if ended.si_pid == child:
                has_exited = ended.si_code == os.CLD_EXITED
                return ended.si_status + (0 if has_exited else KILLED)
