"""The pumps that every test of the relay runs over."""

from __future__ import annotations

import contextlib
from contextvars import ContextVar
from typing import TYPE_CHECKING

from pt_bridge.relay.pipes import PIPE_SIZE, PipePool
from pt_bridge.relay.pump import CHUNK, CopyPump
from pt_bridge.relay.splice import pump_maker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pt_bridge.relay.pump import PumpMaker

# Each way to move bytes, and the most of them that it ever holds back.
MOST_HELD = {"copying": CHUNK, "splicing": PIPE_SIZE, "splicing without pipes": CHUNK}

way: ContextVar[str] = ContextVar("way")
maker: ContextVar[PumpMaker] = ContextVar("maker")


@contextlib.contextmanager
def pumps(name: str) -> Iterator[PipePool]:
    """Return a maker of pumps for the block; no pipe may be left lent."""
    with PipePool(most=0 if name == "splicing without pipes" else 4) as pool:
        made = CopyPump if name == "copying" else pump_maker(pool)
        tokens = way.set(name), maker.set(made)
        yield pool
        maker.reset(tokens[1])
        way.reset(tokens[0])
        assert pool.lent == 0
