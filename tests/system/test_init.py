"""What a system expects of its first process, seen in a namespace of our own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from pt_bridge.system.init import leave_work_to_child
from tests.support.child_processes import children
from tests.support.processes import CLIENT, PLAIN_OPTIONS, until

if TYPE_CHECKING:
    from tests.support.processes import Bench

AS_PID_1 = ["unshare", "--fork", "--pid", "--mount-proc", "--kill-child"]


@pytest.fixture
def before() -> list[str]:
    """What runs a command as the first process."""
    done = subprocess.run([*AS_PID_1, "/bin/true"], check=False, capture_output=True)
    if done.returncode:
        pytest.skip("this machine lets us make no namespace")
    return AS_PID_1


def test_elsewhere_nothing_happens() -> None:
    """LC-09: hardly anybody is the first process."""
    ours = os.getpid()
    leave_work_to_child()
    assert os.getpid() == ours


def test_as_the_first_process_it_reaps_what_others_leave(
    bench: Bench, before: list[str]
) -> None:
    """LC-09: a container whose only program is pt-bridge: no zombie stays."""
    bench.pt.play(*CLIENT, "fork", "exit 1")
    program = bench.run([*before, *by_hand(bench), "--restarts=9"], bench.variables)
    program.said("(3 of 9)")
    (first,) = children(program.process.pid)
    until(lambda: not any(is_zombie(child) for child in children(first.pid)))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_as_the_first_process_it_passes_signals_on(
    bench: Bench, before: list[str], number: signal.Signals
) -> None:
    """LC-08: it is the one that a container's stop is sent to."""
    bench.pt.play(*CLIENT)
    program = bench.run([*before, *by_hand(bench)], bench.variables)
    program.said("ready:")
    (first,) = children(program.process.pid)
    first.send_signal(number)
    program.said("stopped")
    assert program.wait() == 0


def test_as_the_first_process_it_ends_with_the_exit_code(
    bench: Bench, before: list[str]
) -> None:
    """ER-01: as everywhere."""
    bench.pt.play(*CLIENT, "exit 1")
    program = bench.run([*before, *by_hand(bench), "--restarts=0"], bench.variables)
    assert program.wait() == 75


def by_hand(bench: Bench) -> list[str]:
    command = [sys.executable, "-m", "pt_bridge", "client", "--remote=127.0.0.1:9"]
    local = f"--local=127.0.0.1:{bench.port}"
    return [*command, local, f"--plugin-opts={PLAIN_OPTIONS}"]


def is_zombie(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
