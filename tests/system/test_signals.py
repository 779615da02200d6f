"""The signals that stop us, and those that a host has left ignored or blocked."""

from __future__ import annotations

import signal

import pytest

from tests.support.python import run_python

STOPPED = """if True:
    import os, signal, sys
    from pt_bridge.system import signals

    sent, *ignored = map(int, sys.argv[1:])
    signal.signal(sent, signal.SIG_DFL)  # whatever whoever runs the tests ignores
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)
    signals.stop_at_once(7)
    os.kill(os.getpid(), sent)
    sys.exit(3)
"""
INHERITED = """if True:
    import os, signal, subprocess
    from pt_bridge.system import signals

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    signals.let_in()
    print(subprocess.run(["/bin/sh", "-c", "exit 5"]).returncode, flush=True)
    os.kill(os.getpid(), signal.SIGTERM)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_stop_is_our_end_with_the_code_that_was_set(number: int) -> None:
    """LC-08."""
    assert run_python(STOPPED, int(number)).returncode == 7


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_what_nohup_or_a_script_has_ignored_stays_ignored(number: int) -> None:
    """LC-08."""
    assert run_python(STOPPED, int(number), int(number)).returncode == 3


def test_sigterm_stops_even_where_it_was_ignored() -> None:
    """HQ-03: a host would wait for us without end."""
    term = int(signal.SIGTERM)
    assert run_python(STOPPED, term, term).returncode == 7


def test_how_a_child_ends_is_told_and_no_signal_stays_blocked() -> None:
    """waitid(2), NOTES; and a mask that a thread of the host has set."""
    done = run_python(INHERITED)
    assert done.stdout == "5\n"
    assert done.returncode == -signal.SIGTERM


def test_what_nobody_means_as_a_stop_does_not_end_us() -> None:
    """LC-08: SIGUSR2 and the like; and a PT does not inherit that."""
    code = """if True:
        import os, signal, subprocess
        from pt_bridge.system import signals

        signals.stop_at_once(7)
        for number in signals.HARMLESS:
            os.kill(os.getpid(), number)
        child = subprocess.run(["/bin/sh", "-c", "kill -USR2 $$"])
        print(child.returncode)
    """
    done = run_python(code)
    assert (done.returncode, done.stdout) == (0, f"{-signal.SIGUSR2}\n")
