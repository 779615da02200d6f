"""What is started step by step when its block begins, and taken down when it ends.

A program that runs needs a folder, files, sockets, another program: where a step fails,
those before it are undone, and so they are at the end, in the opposite order.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Self


class Started:
    """One such thing; a subclass has the steps."""

    def __init__(self) -> None:
        """Prepare it; entering the block starts it."""
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Start it; an error of a step is raised when nothing is left of the others."""
        async with contextlib.AsyncExitStack() as stack:
            await self._start(stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Undo all steps, the last one first."""
        await self._stack.aclose()

    async def _start(self, stack: contextlib.AsyncExitStack) -> None:
        """Take the steps; what `stack` gets, undoes them."""
        raise NotImplementedError
