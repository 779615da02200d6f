"""What a session says goes to the PT whole, and what the PT does not take is known."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

from pt_bridge.net.sockets import reset
from pt_bridge.protocol.frames import BEAT_FRAME, BYE_FRAME, data_frame
from pt_bridge.relay.frame_sender import FrameSender
from pt_bridge.relay.pipes import PipePool
from tests.support.tcp import closing, noise, pair, read, turn_until

if TYPE_CHECKING:
    from collections.abc import Iterator

MORE_THAN_IT_HOLDS = 1_000_000  # bytes


class Sender(FrameSender):
    """A sender, and the PT's end of its connection.

    Attributes:
        peer: that end.
        said_at: when frames other than BEAT were sent, on the loop's clock.
        told: what it was told of the PT.
    """

    def __init__(self, pipes: PipePool, *, is_client: bool = True) -> None:
        sock, self.peer = pair(send_buffer=20_000, receive_buffer=20_000)
        self.said_at: list[float] = []
        self.told: list[str] = []
        super().__init__(asyncio.get_running_loop(), sock, pipes, is_client=is_client)
        self._watch = self

    def said(self, now: float) -> None:
        """Take note of it."""
        self.said_at.append(now)

    def on_blocked(self) -> None:
        """Take note of it."""
        self.told.append("blocked")

    def on_drained(self) -> None:
        """Take note of it."""
        self.told.append("drained")

    @property
    def sock(self) -> socket.socket:
        """The connection to the PT."""
        return self._plain

    def stop(self) -> None:
        """Send no more."""
        self._writer.stop()


@contextlib.contextmanager
def sender(*, is_client: bool = True) -> Iterator[Sender]:
    """Make a sender for a test."""
    with PipePool(most=2) as pipes:
        made = Sender(pipes, is_client=is_client)
        with closing((made.sock, made.peer)):
            yield made
            made.stop()


async def test_frames_are_sent_as_they_are_and_counted_as_said() -> None:
    """A BEAT is none of those: it is said where nothing else was."""
    with sender() as client:
        before = asyncio.get_running_loop().time()
        assert client.send(data_frame(b"x")) >= before
        client.say_beat()
        client.say_bye()
        said = data_frame(b"x") + BEAT_FRAME + BYE_FRAME
        assert await read(client.peer, len(said)) == said
        assert len(client.said_at) == 1


async def test_only_a_client_has_a_preface_to_say() -> None:
    """Until it has, its connection is of no use to the server."""
    with sender() as client, sender(is_client=False) as server:
        assert client.is_unused
        assert not server.is_unused


async def test_a_slow_pt_is_sent_no_more_until_it_has_taken_that() -> None:
    """What it has yet to take must not be lost."""
    with sender() as client:
        data = data_frame(noise(MORE_THAN_IT_HOLDS))
        client.send(data)
        assert client.told == ["blocked"]
        assert not client.can_send
        assert client.has_backlog
        assert await read(client.peer, len(data)) == data
        await turn_until(lambda: client.can_send)
        assert client.told == ["blocked", "drained"]
        await turn_until(lambda: not client.has_backlog)


async def test_nothing_is_said_to_a_pt_that_has_gone() -> None:
    """Nor does anything wait for it; what it had sent may still be read."""
    with sender() as client:
        reset(client.peer)
        client.say_beat()
        assert not client.can_send
        assert client.told == ["blocked"]
        assert not client.has_backlog
        client.send(data_frame(b"x"))
        client.say_beat()
        client.say_bye()
        assert client.told == ["blocked"]
