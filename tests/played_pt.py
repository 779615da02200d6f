"""A PT that a test plays: its ends of a tunnel's two legs, and what is told of it."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING

from pt_bridge.connection import half_close
from pt_bridge.manners import Manners
from pt_bridge.pump import CopyPump, End

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

# What a PT makes of an EOF: it closes both connections at once, and what is under way
# in the other direction is lost (obfs4proxy); it passes none on, and closes both when
# both have ended (lyrebird); or it does as one would expect.
CLOSES_ALL, KEEPS, PASSES_ON = KINDS = ("closes all", "keeps", "passes on")


class Process:
    """What the system tells of a PT; a test changes it.

    Attributes:
        is_ending: whether it has begun to exit.
        is_asleep: whether all of its threads wait, or None where nobody knows.
        cpu_time: for how many seconds they have run, or None where nobody knows.
        works_when_asked: whether they run a little while they are looked at.
        says_last: writes what it writes just before it falls asleep, and is seen to.
    """

    def __init__(self) -> None:
        self.is_ending = False
        self.is_asleep: bool | None = True
        self.cpu_time: float | None = 1.0
        self.works_when_asked = False
        self.says_last: Callable[[], object] | None = None

    def manners(self) -> Manners:
        """Give what its tunnels know of it."""
        return Manners(
            is_ending=lambda: self.is_ending,
            is_asleep=self._look,
            cpu_time=lambda: self.cpu_time,
        )

    def _look(self) -> bool | None:
        if self.says_last is not None:
            self.says_last()
        if self.works_when_asked and self.cpu_time is not None:
            self.cpu_time += 1e-9
        return self.is_asleep


class PlayedPt:
    """One tunnel's part of a PT: a test reads and writes by hand, or lets it run.

    Attributes:
        plain: its end of the leg to the host's side.
        wire: its end of the leg to the Internet's side.
        ended: the connections from which it has read an EOF, while it ran.
    """

    def __init__(self, plain: socket.socket, wire: socket.socket) -> None:
        self.plain = plain
        self.wire = wire
        self.ended: list[socket.socket] = []
        self._ways: list[CopyPump] = []
        self._kind = ""

    def run(self, kind: str) -> None:
        """Copy both ways, as Go's io.Copy does, and end as PTs of that kind do."""
        self._kind = kind
        loop = asyncio.get_running_loop()
        for source, sink in ((self.plain, self.wire), (self.wire, self.plain)):
            ended = functools.partial(self._ended, source, sink)
            self._ways.append(CopyPump(loop, source, sink, ended))
        for way in self._ways:
            way.start()

    def _ended(self, source: socket.socket, sink: socket.socket, how: End) -> None:
        if how is End.EOF:
            self.ended.append(source)
        has_failed = how is not End.EOF
        if has_failed or self._kind == CLOSES_ALL or len(self.ended) == len(self._ways):
            self.close()
        elif self._kind == PASSES_ON:
            half_close(sink)

    @property
    def is_closed(self) -> bool:
        """Whether it has closed both connections."""
        return self.plain.fileno() == self.wire.fileno() == -1

    def close(self) -> None:
        """Copy no more, and close both connections."""
        for way in self._ways:
            way.stop()
        self.plain.close()
        self.wire.close()
