"""How a stream of a session ends, whatever it carries: once, and in its own time."""

from __future__ import annotations

import asyncio

import pytest

from pt_bridge.protocol.frames import EOF, NUMBER, RESET, Cause, frame
from pt_bridge.protocol.session import Session
from pt_bridge.relay.base_stream import BaseStream

ID = b"12345678"
# What is said of the first stream.
FIRST = NUMBER.pack(1)
EOF_SAID = frame(EOF, FIRST)
RESET_SAID = frame(RESET, FIRST + bytes([Cause.CUT]))


class Line:
    """A PT connection of a client's that takes what it is told to.

    Attributes:
        told: what happened, in order.
    """

    def __init__(self, told: list[object]) -> None:
        self.session = Session(is_client=True)
        self.told = told

    def send(self, frames: bytes) -> float:
        """Take frames."""
        self.told.append(frames)
        return 0.0

    def on_stream_over(self) -> None:
        """Be free again."""
        self.told.append("free")


class Played(BaseStream[Line]):
    """A stream that carries nothing, and whose end a test plays."""

    def __init__(self, told: list[object]) -> None:
        super().__init__(asyncio.get_running_loop(), ID)
        self.told = told

    def hear_eof(self) -> None:
        self.eof_received = True
        self._see_whether_it_is_over()

    def hear_reset(self) -> None:
        self._reset_received = True
        self._see_whether_it_is_over()

    def say_eof(self) -> None:
        self._say_eof()
        self._see_whether_it_is_over()

    def cut(self) -> None:
        self._end()

    def _keep_nothing(self) -> None:
        self.told.append("keeps nothing")

    def _leave_local(self, *, is_clean: bool) -> None:
        self.told.append("left clean" if is_clean else "left dead")

    def _tell_of_end(self) -> None:
        self.told.append("ended")


def begun() -> tuple[Played, Line, list[object]]:
    """Return a stream that is open on a line, and what happens from now on."""
    told: list[object] = []
    stream, line = Played(told), Line(told)
    line.session.open(ID)
    stream.join(line, line.session.number)
    return stream, line, told


@pytest.mark.parametrize("first", ["we", "the peer"])
async def test_it_is_over_once_both_sides_have_said_their_eof(first: str) -> None:
    """RL-04: its owner forgets it before anybody is offered the connection."""
    stream, _, told = begun()
    steps = [stream.say_eof, stream.hear_eof]
    for step in steps if first == "we" else steps[::-1]:
        assert "ended" not in told
        step()
    stream.say_eof()
    assert told == [EOF_SAID, "left clean", "ended", "free"]
    assert stream.connection is None
    stream.cut()
    assert told.count("ended") == 1


async def test_it_is_over_once_both_sides_have_said_reset() -> None:
    stream, _, told = begun()
    stream.say_reset(Cause.CUT)
    stream.say_reset(Cause.SILENT)
    assert told == ["keeps nothing", RESET_SAID]
    stream.say_eof()
    stream.hear_reset()
    assert told[2:] == ["left dead", "ended", "free"]


async def test_what_the_session_cannot_carry_any_more_is_not_said() -> None:
    """It is in the next stream already, while this one's local side is slow."""
    stream, line, told = begun()
    stream.join(line, line.session.number - 1)
    stream.say_eof()
    stream.say_reset(Cause.CUT)
    assert told == ["keeps nothing"]


async def test_one_that_is_on_no_connection_says_nothing() -> None:
    told: list[object] = []
    stream = Played(told)
    stream.say_eof()
    stream.say_reset(Cause.CUT)
    stream.hear_reset()
    stream.cut()
    assert told == ["keeps nothing", "left dead", "ended"]


async def test_one_that_is_cut_has_ended_once() -> None:
    """Whatever is heard of it later; the connection is closed by whoever cuts."""
    stream, _, told = begun()
    stream.cut()
    stream.say_reset(Cause.CUT)
    stream.hear_reset()
    assert told == ["ended", "keeps nothing", RESET_SAID]
