"""What is fuzzed: one way into pt-bridge, and what it must bear."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from pt_bridge.errors import PtBridgeError

    Read = Callable[[bytes], object]

KIB = 1024
# An environment variable has at most 128 KiB on Linux, and a PT's line 64 KiB.
LONGEST = 64 * KIB
MOST_HELD = 256 * KIB


class Target(NamedTuple):
    """One way in.

    Attributes:
        name: what it is called; it begins with the module's name and a dot.
        opened: makes the block in which inputs can be given, and which gives what takes
            them. That raises an error where one was not borne: AssertionError, with
            words, where what came of it is wrong.
        may_raise: all that may come out otherwise.
        corpus: inputs to begin with, which are taken without an error.
        words: what the grammar's words are, beside those of the corpus.
        longest: how long inputs are at most, in bytes.
        held: what any of them may cost while it is taken, in bytes.
        shares: how much of the time it gets, beside the others.
    """

    name: str
    opened: Callable[[], AbstractContextManager[Read]]
    may_raise: tuple[type[PtBridgeError], ...]
    corpus: Sequence[bytes]
    words: Sequence[bytes] = ()
    longest: int = LONGEST
    held: int = MOST_HELD
    shares: int = 1

    @property
    def module(self) -> str:
        """The module that it is a way into."""
        return self.name.partition(".")[0]


def parser(
    name: str,
    read: Read,
    may_raise: tuple[type[PtBridgeError], ...],
    corpus: Sequence[bytes],
    *,
    words: Sequence[bytes] = (),
    longest: int = LONGEST,
    shares: int = 1,
) -> Target:
    """Create a target of a function that keeps nothing from one input to the next."""
    return Target(
        *(name, lambda: contextlib.nullcontext(read), may_raise, corpus),
        words=words,
        longest=longest,
        shares=shares,
    )
