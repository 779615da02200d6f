"""Coroutine tests, and a look for what a test left behind."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import math
import os
import sys
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

from pt_bridge.system import event_loop
from tests.support.child_processes import children
from tests.support.processes import Bench, FakePt
from tests.support.pumps import MOST_HELD, pumps
from tests.support.termination import end_like_an_interrupt, pass_on_no_ignored_signal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# No test fails because a busy machine was slow to make its inputs.
hypothesis.settings.register_profile(
    "any machine",
    deadline=None,
    suppress_health_check=[
        hypothesis.HealthCheck.too_slow,
        hypothesis.HealthCheck.data_too_large,
    ],
)
hypothesis.settings.load_profile("any machine")

TEST_DEADLINE = 300.0  # seconds: generous, the machines are noisy


def pytest_configure() -> None:
    """Leave nothing running when the run is ended from outside."""
    end_like_an_interrupt()
    pass_on_no_ignored_signal()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Measure no coverage of what repeats: that takes four times as long.

    What hypothesis tries is different at each run, and what is covered must not be.
    pytest-cov's `no_cover` does nothing in xdist's workers: another measurement, whose
    result nobody asks for, takes the place of the one that it ends.
    """
    trace = sys.gettrace()
    if _is_unmeasured(item):
        sys.settrace(None)
    try:
        return (yield)
    finally:
        sys.settrace(trace)


def _is_unmeasured(item: pytest.Item) -> bool:
    if item.get_closest_marker("unmeasured") is not None:
        return True
    return bool(hypothesis.is_hypothesis_test(getattr(item, "obj", None)))


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a coroutine test as pt-bridge runs, with a deadline.

    With ``PYTHONASYNCIODEBUG=1``, as in ``scripts/test-pythons``, in asyncio's debug
    mode: that notes where each callback was asked for, and takes twice the time.
    """
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    with asyncio.Runner(loop_factory=event_loop.create) as runner:
        runner.run(_within_deadline(pyfuncitem.obj(**arguments)))
    return True


async def _within_deadline(coroutine: Any) -> None:
    # Else a busy machine's pauses are logged, among what the test looks at.
    asyncio.get_running_loop().slow_callback_duration = math.inf
    async with asyncio.timeout(TEST_DEADLINE):
        await coroutine
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, f"tasks left running: {left}"


def _has_child() -> bool:
    """Whether this process has a child, be it one that has ended."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Check that a test leaves no child and no descriptor behind."""
    before = set(os.listdir("/proc/self/fd"))
    yield
    if _has_child():
        pytest.fail(f"children left: {children(os.getpid())}")
    left = {
        fd: os.readlink(f"/proc/self/fd/{fd}")
        for fd in set(os.listdir("/proc/self/fd")) - before
        if os.path.exists(f"/proc/self/fd/{fd}")
    }
    assert not left, f"descriptors left: {left}"


@pytest.fixture(params=MOST_HELD)
def every_pump(request: pytest.FixtureRequest) -> Iterator[None]:
    """Run a test over every kind of pump (`tests.support.pumps.maker`)."""
    with pumps(request.param):
        yield


@pytest.fixture
def pt(tmp_path: Path) -> Iterator[FakePt]:
    """A fake PT that a test starts by itself."""
    with contextlib.closing(FakePt(tmp_path / "bin")) as fake:
        yield fake


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A place to run the whole program in; what still runs at the end is killed."""
    with contextlib.ExitStack() as stack:
        yield Bench(tmp_path, stack)
