"""Tests that wait for longer than they work, run beside each other.

They carry the mark `waits`, with for how many seconds if that is more than a few, and
take only what can be made for each of them: a machine, a service, a folder, parameters.
"""

from __future__ import annotations

import inspect
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from integration.support.endpoints import Service
from integration.support.machine import Machine

if TYPE_CHECKING:
    from collections.abc import Iterable
    from concurrent.futures import Future
    from pathlib import Path

    import pytest

MARK = "waits"
# How many go on at once: each starts some programs, and has limits to keep.
MOST = 4
# Longer than all of them together (seconds).
LIMIT = 1500.0


def waits(item: pytest.Item) -> bool:
    """Return whether a test is one of them."""
    return item.get_closest_marker(MARK) is not None


def _seconds(item: pytest.Item) -> float:
    """Return for how long a test waits."""
    mark = item.get_closest_marker(MARK)
    return mark.args[0] if mark is not None and mark.args else 0.0


class Waiting:
    """Some tests that were begun, each to be judged when its turn comes."""

    def __init__(self, folder: Path, items: Iterable[pytest.Function]) -> None:
        """Begin with those that wait for longest, as many as go on at once.

        Args:
            folder: an empty one.
            items: the tests.
        """
        self._pool = ThreadPoolExecutor(MOST)
        self._futures: dict[str, Future[None]] = {}
        ordered = sorted(items, key=_seconds, reverse=True)
        for number, item in enumerate(ordered):
            future = self._pool.submit(_run, item, folder / str(number))
            self._futures[item.nodeid] = future

    def judge(self, item: pytest.Item) -> None:
        """Wait for a test's end; raise what it has raised."""
        self._futures[item.nodeid].result(LIMIT)

    def close(self) -> None:
        """Wait for the end of what goes on, and begin nothing more."""
        self._pool.shutdown(cancel_futures=True)


def _run(item: pytest.Function, folder: Path) -> None:
    """Run a test on a machine of its own, where all ends before the service does."""
    folder.mkdir()
    service = Service()
    machine = Machine(folder)
    made = {
        "machine": machine,
        "service": service,
        "tmp_path": folder,
        "record_property": lambda *each: item.user_properties.append(each),
        **(item.callspec.params if hasattr(item, "callspec") else {}),
    }
    try:
        item.obj(
            **{name: made[name] for name in inspect.signature(item.obj).parameters}
        )
    finally:
        try:
            machine.close()
        finally:
            service.close()
