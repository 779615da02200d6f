"""What takes minutes of waiting goes on while other tests run."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Generic, TypeVar

from integration.support.pairings import network

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from integration.support.pairings import Network

    T = TypeVar("T")
else:
    T = TypeVar("T")

# Longer than anything here waits (seconds).
LIMIT = 1500.0


class Background(Generic[T]):
    """Something that a thread does in a network of its own, from now on."""

    def __init__(self, folder: Path, work: Callable[[Network], T]) -> None:
        """Begin.

        Args:
            folder: an empty one.
            work: what is done there; the network is taken down behind it.
        """
        self._folder = folder
        self._work = work
        self._results: list[T] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            with network(self._folder) as net:
                self._results.append(self._work(net))
        except BaseException as error:  # raised again where the result is wanted
            self._error = error

    def result(self) -> T:
        """Return what came of it, once it is done."""
        self._thread.join(LIMIT)
        assert not self._thread.is_alive(), "it goes on and on"
        if self._error is not None:
            raise self._error
        return self._results[0]

    def close(self) -> None:
        """Wait for its end."""
        self._thread.join()
