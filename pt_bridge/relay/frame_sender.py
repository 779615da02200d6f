"""The sending half of a PT connection with a session: whole frames, in order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from pt_bridge.net.sockets import waiting
from pt_bridge.protocol.frames import BEAT_FRAME, PREFACE
from pt_bridge.protocol.session import Session
from pt_bridge.relay.writer import Writer

if TYPE_CHECKING:
    import asyncio
    import socket

    from pt_bridge.relay.pipes import Pipe, PipePool


class SilenceTimer(Protocol):
    """Who counts how long nothing was said."""

    def said(self, now: float) -> None:
        """Take note that frames other than BEAT were sent."""


class FrameSender:
    """Sends what is said in a session; a subclass hears what the peer says.

    Attributes:
        session: what is said and heard.
        is_client, is_closed: whether we open the streams, and whether it is over.
    """

    __slots__ = (
        "_is_unwritable",
        "_loop",
        "_plain",
        "_preface",
        "_watch",
        "_writer",
        "is_client",
        "is_closed",
        "session",
    )

    _watch: SilenceTimer

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        plain: socket.socket,
        pipes: PipePool,
        *,
        is_client: bool,
    ) -> None:
        """Send on a connection to the PT; a client says the preface first."""
        self._loop, self._plain = loop, plain
        self.is_client, self.is_closed = is_client, False
        self.session = Session(is_client=is_client)
        self._preface = PREFACE if is_client else b""
        self._writer = Writer(loop, plain, pipes, self)
        self._is_unwritable = False

    @property
    def can_send(self) -> bool:
        """Whether more DATA may be sent now."""
        return not (self._writer.is_blocked or self._is_unwritable or self.is_closed)

    @property
    def has_backlog(self) -> bool:
        """Whether the PT has yet to take something that was said."""
        is_held = self._writer.is_blocked or waiting(self._plain)
        return bool(is_held) and not self._is_unwritable

    @property
    def is_unused(self) -> bool:
        """Whether not even the preface was said (client)."""
        return bool(self._preface)

    def send(self, frames: bytes) -> float:
        """Send whole frames that are no BEAT; return the loop's time."""
        now = self._loop.time()
        self._watch.said(now)
        if not self._is_unwritable:
            self._writer.send(frames)
        return now

    def send_pipe(self, pipe: Pipe, count: int, header: bytes) -> float:
        """Send a DATA frame of what a borrowed pipe holds; return the loop's time."""
        now = self._loop.time()
        self._watch.said(now)
        self._writer.send_pipe(pipe, count, header)
        return now

    def say_beat(self) -> None:
        """Say that we are there."""
        if not self._is_unwritable:
            self._writer.send(BEAT_FRAME)

    def say_bye(self) -> None:
        """Say that nothing more comes on this connection."""
        if not self._is_unwritable:
            self._writer.send(self.session.bye())

    def on_failed(self, _: OSError) -> None:
        """Send nothing more, and have what is still there read."""
        self._is_unwritable = True
        self.on_blocked()

    # What a subclass does.

    def on_blocked(self) -> None:
        """Have nothing more sent for now: the PT is slow."""
        raise NotImplementedError

    def on_drained(self) -> None:
        """Go on: the PT has taken what was sent."""
        raise NotImplementedError
