"""A look for what is over, and still there because it points at itself."""

from __future__ import annotations

import contextlib
import gc
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def instances(*kinds: type) -> list[object]:
    """Return all objects of these classes, those that nobody can reach included.

    Within `without_collector`: all that were made in its block.
    """
    return [each for each in gc.get_objects() if isinstance(each, kinds)]


@contextlib.contextmanager
def without_collector() -> Iterator[None]:
    """Switch the garbage collector off for the block.

    What was there before is set aside: a run of all tests has a million objects, and to
    look at them takes longer than the rest of a test.
    """
    gc.disable()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        gc.enable()
