"""Coroutine tests, and a look for what a test left behind."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tests.processes import Bench, FakePt
from tests.pumps import MOST_HELD, pumps

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TEST_DEADLINE = 60.0  # seconds: generous, the machines are noisy


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a coroutine test in asyncio's debug mode, with a deadline."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    asyncio.run(_within_deadline(pyfuncitem.obj(**arguments)), debug=True)
    return True


async def _within_deadline(coroutine: Any) -> None:
    async with asyncio.timeout(TEST_DEADLINE):
        await coroutine
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, f"tasks left running: {left}"


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """See that a test leaves no child and no descriptor behind."""
    before = set(os.listdir("/proc/self/fd"))
    yield
    children = psutil.Process().children()
    assert not children, f"children left: {children}"
    left = {
        fd: os.readlink(f"/proc/self/fd/{fd}")
        for fd in set(os.listdir("/proc/self/fd")) - before
        if os.path.exists(f"/proc/self/fd/{fd}")
    }
    assert not left, f"descriptors left: {left}"


@pytest.fixture(params=MOST_HELD)
def every_pump(request: pytest.FixtureRequest) -> Iterator[None]:
    """Run a test over every kind of pump (`tests.pumps.maker`)."""
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
