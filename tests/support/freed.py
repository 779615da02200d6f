"""A look for what is over, and still there because it points at itself."""

from __future__ import annotations

import contextlib
import gc
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def instances(*kinds: type) -> list[object]:
    """Return all objects of these classes, those that nobody can reach included."""
    return [each for each in gc.get_objects() if isinstance(each, kinds)]


@contextlib.contextmanager
def without_collector() -> Iterator[None]:
    """Switch the garbage collector off for the block."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
