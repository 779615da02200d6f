"""The stream that carries datagrams: what is kept, what is dropped, how it ends."""

from __future__ import annotations

import asyncio

from pt_bridge.protocol.frames import (
    DATAGRAMS,
    Cause,
    Datagram,
    datagram_frame,
)
from pt_bridge.protocol.session import Session
from pt_bridge.udp.stream import MAX_KEPT, DatagramStream
from tests.support.udp_rig import udp_socket

ID = b"12345678"


class Owner:
    """Who is told what happens."""

    def __init__(self, *, tries_again: bool = False) -> None:
        self.heard: list[Datagram] = []
        self.ended = 0
        self._tries_again = tries_again

    def on_datagram(self, stream: DatagramStream, datagram: Datagram) -> None:
        """Take a datagram."""
        self.heard.append(datagram)

    def on_stream_ended(self, stream: DatagramStream) -> None:
        """Count the end."""
        self.ended += 1

    def on_stream_lost(self, stream: DatagramStream, connection: object) -> bool:
        """Try again, or not."""
        return self._tries_again


class Line:
    """A PT connection that takes what it is told to."""

    def __init__(self) -> None:
        self.session = Session(is_client=True)
        self.takes_datagrams = True
        self.said: list[bytes] = []
        self.is_free = False

    def carry(self, stream: DatagramStream) -> None:
        """Open the stream."""
        self.said.append(self.session.open(stream.id, DATAGRAMS))
        stream.join(self, self.session.number)
        self.said.append(stream.first_frames())

    def send(self, frames: bytes) -> float:
        """Take frames."""
        self.said.append(frames)
        return 0.0

    def on_stream_over(self) -> None:
        """Be free again."""
        self.is_free = True


def begun(owner: Owner) -> tuple[DatagramStream, Line]:
    """Return a client's stream that is on a line."""
    with udp_socket() as sock:
        stream = DatagramStream(asyncio.get_running_loop(), owner, ID, local=sock)
    line = Line()
    line.carry(stream)
    return stream, line


async def test_what_is_sent_before_accept_is_kept_and_no_more_than_that() -> None:
    """It may have to go once more, on another connection."""
    owner = Owner(tries_again=True)
    stream, line = begun(owner)
    big, small = Datagram(1, bytes(MAX_KEPT - 100)), Datagram(2, b"x")
    stream.send(big)
    stream.send(big)
    stream.send(small)
    assert line.said[2:] == [datagram_frame(big), datagram_frame(small)]
    assert stream.dropped == 1
    stream.on_connection_lost(line)
    assert owner.ended == 0
    again = Line()
    again.carry(stream)
    assert again.said[1] == datagram_frame(big) + datagram_frame(small)
    again.session.receive(b"\2\0\0\2\0\1")
    stream.on_accepted()
    stream.send(big)
    assert (stream.kept, stream.dropped) == (None, 1)
    stream.on_connection_lost(again)
    assert owner.ended == 1


async def test_without_a_connection_the_newest_are_kept() -> None:
    """Who waits for a PT waits for seconds."""
    with udp_socket() as sock:
        stream = DatagramStream(asyncio.get_running_loop(), Owner(), ID, local=sock)
    for number in range(4):
        stream.send(Datagram(number, bytes(30_000)))
    assert stream.dropped == 2
    newest = [datagram_frame(Datagram(number, bytes(30_000))) for number in (2, 3)]
    assert stream.kept == newest
    stream.end()
    stream.end()


async def test_a_full_path_drops_and_nothing_waits() -> None:
    """Until it is free again."""
    stream, line = begun(Owner())
    stream.on_accepted()
    line.takes_datagrams = False
    for _ in range(1000):
        stream.send(Datagram(1, bytes(1000)))
    assert (stream.dropped, len(line.said)) == (1000, 2)
    line.takes_datagrams = True
    stream.send(Datagram(1, b"x"))
    assert line.said[2:] == [datagram_frame(Datagram(1, b"x"))]


async def test_it_is_over_when_both_have_said_the_end() -> None:
    """Nothing is sent after that, and nothing twice."""
    owner = Owner()
    stream, line = begun(owner)
    line.session.receive(b"\2\0\0\2\0\1")
    stream.on_accepted()
    stream.end()
    stream.end()
    stream.send(Datagram(1, b"too late"))
    assert line.said[2:] == [b"\4\0\0\2\0\1"]
    stream.deliver_datagram(Datagram(1, b"still an answer"))
    assert (len(owner.heard), owner.ended) == (1, 0)
    line.session.receive(b"\4\0\0\2\0\1")
    stream.on_eof()
    assert (owner.ended, line.is_free) == (1, True)
    stream.on_eof()
    stream.cut()
    assert owner.ended == 1


async def test_a_stream_whose_end_is_said_is_not_tried_again() -> None:
    """Nobody waits for it."""
    owner = Owner(tries_again=True)
    stream, line = begun(owner)
    stream.end()
    stream.on_connection_lost(line)
    assert owner.ended == 1


async def test_a_reset_is_answered_once_and_what_comes_is_thrown_away() -> None:
    """Whoever says it first."""
    owner = Owner()
    stream, line = begun(owner)
    stream.say_reset(Cause.CUT)
    stream.say_reset(Cause.CUT)
    stream.end()
    stream.deliver_datagram(Datagram(1, b"x"))
    assert line.said[2:] == [b"\5\0\0\3\0\1\0"]
    line.session.receive(b"\5\0\0\3\0\1\0")
    stream.on_reset()
    assert (owner.heard, owner.ended, line.is_free) == ([], 1, True)
