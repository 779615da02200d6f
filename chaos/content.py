"""The bytes that go through: known at each place of each stream, and quick to check."""

from __future__ import annotations

import random

CHUNK = 64 * 1024
# A prime number, so that no shift by a buffer's size looks right.
PERIOD = 1_000_003
# Streams begin so far from each other (bytes).
STRIDE = 7_919

_CIRCLE = random.Random(0).randbytes(PERIOD)  # noqa: S311 - no secret
_BYTES = _CIRCLE + _CIRCLE[:CHUNK]
_VIEW = memoryview(_BYTES)


def content(stream: int, offset: int, size: int) -> memoryview:
    """Return a piece of a stream, at most `CHUNK` bytes.

    Args:
        stream: the stream's number.
        offset: where the piece begins.
        size: how many bytes it has.
    """
    assert size <= CHUNK  # else the circle would end within it
    start = _start(stream, offset)
    return _VIEW[start : start + size]


def is_right(data: bytes, stream: int, offset: int) -> bool:
    """Return whether this is what stands in a stream at an offset."""
    # A view would be compared byte by byte, fifty times as slow.
    return _BYTES.startswith(data, _start(stream, offset))


def _start(stream: int, offset: int) -> int:
    return (stream * STRIDE + offset) % PERIOD
