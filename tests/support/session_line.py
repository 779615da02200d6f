"""Two machines of the session over a line that splits, delays and may cut.

Each side says whatever the protocol lets it say, at any time. What they said is written
down beside the machines, and held against what the other heard.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from pt_bridge.protocol.frames import (
    BEAT_FRAME,
    DATAGRAMS,
    LEFT,
    TCP,
    Accepted,
    Cause,
    Datagram,
    Ended,
    Left,
    Opened,
    WasReset,
    data_frame,
    datagram_frame,
    frame,
)
from pt_bridge.protocol.session import Session

if TYPE_CHECKING:
    from pt_bridge.protocol.frames import Event

MachineFactory = Callable[..., Session]

LATER_FRAME = frame(0x80, b"of a later version")
MOST_STREAMS = 30  # in a run
PIECES = (1, 2, 5, 30, 1000)  # bytes that arrive at a time
MOST_DATA = 40  # bytes in one frame
# Tiny frames at a time, more than a machine takes at once.
MANY = 300
CAUSES = [cause for cause in Cause if cause is not Cause.UNKNOWN]
# What is sent differs from place to place, and from stream to stream.
BYTES = bytes(range(251)) * 3
STEP = 7


class Choices(Protocol):
    """What decides what happens next."""

    def below(self, limit: int) -> int:
        """Return a number from 0 on that is below the limit."""


class RandomChoices:
    """Choices of a seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed).random  # noqa: S311

    def below(self, limit: int) -> int:
        """Return a number from 0 on that is below the limit."""
        return int(self._random() * limit)


class GivenChoices:
    """Choices that are given, a byte for each; 0 when there are no more."""

    def __init__(self, data: bytes) -> None:
        self._left = iter(data)

    def below(self, limit: int) -> int:
        """Return a number from 0 on that is below the limit."""
        return next(self._left, 0) % limit


class Stream:
    """What one side said and heard in a stream; of datagrams, with their frames.

    Attributes:
        is_left: whether the client has opened the next one before the server's end.
    """

    __slots__ = (
        "accepted",
        "ended",
        "ended_heard",
        "heard",
        "id",
        "is_left",
        "kind",
        "reset",
        "said",
    )

    def __init__(self, id: bytes, kind: int) -> None:
        self.id, self.kind = id, kind
        self.said, self.heard = bytearray(), bytearray()
        self.accepted = self.ended = self.ended_heard = self.is_left = False
        self.reset: tuple[Cause, bytes] | None = None


class Side:
    """One machine, honestly used, and what it has put on the line."""

    def __init__(self, make: MachineFactory, *, is_client: bool) -> None:
        self.machine = make(is_client=is_client)
        self.is_client = is_client
        self.line = bytearray()
        self.streams: list[Stream] = []
        self.has_left = False
        self.peer: Side

    @property
    def stream(self) -> Stream:
        """The last one that there was."""
        return self.streams[-1]

    # What it says.

    def say(self, choices: Choices) -> None:
        """Send anything that may be sent now."""
        machine = self.machine
        choice = choices.below(100)
        if choice < 6:
            self.line += BEAT_FRAME if choice else LATER_FRAME
        elif self.is_client and machine.may_open:
            waits = machine.is_open and choice >= 30
            if len(self.streams) < MOST_STREAMS and not waits:
                kind = TCP if choice % 3 else DATAGRAMS
                self.open(bytes([choice] * 8), kind)
        elif not machine.is_open or machine.reset_sent:
            pass
        elif choice < 12 or (machine.reset_received and choice < 60):
            self.reset(CAUSES[choice % len(CAUSES)], bytes([choice]))
        elif not self.is_client and not machine.is_accepted:
            if choice < 80:
                self.accept()
        elif machine.eof_sent:
            pass
        elif choice < 24:
            self.eof()
        elif choice < 98:
            self.send(1 + choices.below(MOST_DATA))
        else:
            for _ in range(MANY):
                self.send(1)

    def open(self, id: bytes, kind: int) -> None:
        """Open a stream."""
        if self.machine.is_open:
            self.stream.is_left = True
        self.line += self.machine.open(id, kind)
        self.streams.append(Stream(id, kind))

    def accept(self) -> None:
        """Accept the stream."""
        self.line += self.machine.accept()
        self.stream.accepted = True

    def send(self, size: int) -> None:
        """Send so many bytes."""
        said = self.stream.said
        start = (len(said) + STEP * len(self.streams)) % 251
        data = BYTES[start : start + size]
        if self.machine.carries_datagrams:
            data = frame = datagram_frame(Datagram(len(said), data[: size - 1]))
        else:
            frame = data_frame(data)
        self.line += frame
        said += data

    def eof(self) -> None:
        """End what this side sends."""
        self.line += self.machine.eof()
        self.stream.ended = True

    def reset(self, cause: Cause, text: bytes) -> None:
        """Reset the stream."""
        self.line += self.machine.reset(cause, text)
        self.stream.reset = cause, text

    def answer(self) -> None:
        """Answer a RESET, if that is to be done."""
        machine = self.machine
        if machine.is_open and machine.reset_received > machine.reset_sent:
            self.reset(Cause.CUT, b"")

    def end(self) -> None:
        """End a stream that is open, as soon as possible."""
        machine = self.machine
        if not machine.is_open or machine.reset_sent:
            return
        if machine.reset_received:
            self.reset(Cause.CUT, b"")
            return
        if not self.is_client and not machine.is_accepted:
            self.accept()
        if not machine.eof_sent:
            self.eof()

    # What it hears.

    def hear(self, size: int, *, passes: bool = False) -> None:
        """Take up to so many bytes off the line.

        Args:
            size: how many at most.
            passes: whether those of a frame of DATA are moved past the machine.
        """
        machine, line = self.machine, self.peer.line
        if machine.has_more:
            self._note(machine.receive(b""))
            return
        passes = passes and machine.data_left > 0 and not machine.drops_former
        if passes:
            size = min(size, machine.data_left)
        data = bytes(line[:size])
        del line[:size]
        if passes and data:
            machine.skip(len(data))
            self.stream.heard += data
        else:
            self._note(machine.receive(data))

    def _note(self, events: list[Event]) -> None:
        for event in events:
            match event:
                case bytes():
                    assert event, "an event says nothing"
                    self.stream.heard += event
                case Datagram():
                    assert self.stream.kind == DATAGRAMS, "a datagram in a connection"
                    self.stream.heard += datagram_frame(event)
                case Opened():
                    self.streams.append(Stream(event.id, event.kind))
                    assert event.id == self._theirs.id, "another stream is opened"
                    assert event.kind == self._theirs.kind, "it is of another kind"
                case Accepted():
                    assert self._theirs.accepted, "nobody has accepted the stream"
                case Ended():
                    assert not self.stream.ended_heard, "a stream ends twice"
                    self.stream.ended_heard = True
                    self._see_that_it_is_complete()
                case WasReset():
                    said = event.cause, event.text
                    assert said == self._theirs.reset, "another stream is reset"
                case Left():
                    self.has_left = True
                    if not self.is_client:
                        self.line += self.machine.bye()

    @property
    def _theirs(self) -> Stream:
        assert len(self.streams) <= len(self.peer.streams), "a stream out of nothing"
        return self.peer.streams[len(self.streams) - 1]

    def _see_that_it_is_complete(self) -> None:
        theirs = self._theirs
        assert theirs.ended, "a cut looks complete"
        assert self.stream.heard == theirs.said, "a part looks complete"


class Line:
    """The two sides, and what is between them."""

    def __init__(self, choices: Choices, make: MachineFactory = Session) -> None:
        self._choices = choices
        self.client = Side(make, is_client=True)
        self.server = Side(make, is_client=False)
        self.client.peer, self.server.peer = self.server, self.client
        self.sides = self.client, self.server

    def run(self, steps: int) -> None:
        """Run so many steps, then cut the line, or end both sides.

        Raises:
            AssertionError: one heard something else than the other said.
            ProtocolError: one said what the other does not understand.
        """
        choices = self._choices
        for _ in range(steps):
            choice = choices.below(20)
            side = self.sides[choice & 1]
            if choice < 10:
                size = PIECES[choices.below(len(PIECES))]
                side.hear(size, passes=choices.below(2) == 1)
            else:
                side.say(choices)
        if choices.below(4) == 3:
            self._cut()
        else:
            self._settle()
            self._see_that_they_agree()
            self._end()

    def _cut(self) -> None:
        """Deliver a part of what is under way; `Side` sees what looks complete."""
        for side in self.sides:
            line = side.peer.line
            del line[self._choices.below(len(line) + 1) :]
            while line or side.machine.has_more:
                side.hear(len(line))
                side.answer()  # what was under way may wait for it
        for side in self.sides:
            for heard, said in zip(side.streams, side.peer.streams, strict=False):
                assert said.said.startswith(heard.heard), "other bytes were sent"

    def _settle(self) -> None:
        """Deliver everything, and answer each RESET."""
        under_way = True
        while under_way:
            for side in self.sides:
                side.hear(len(side.peer.line))
                side.answer()
            under_way = any(side.line or side.machine.has_more for side in self.sides)

    def _see_that_they_agree(self) -> None:
        """Compare both sides while nothing is under way."""
        ours, theirs = self.client.machine, self.server.machine
        assert ours.number == theirs.number, "they count differently"
        assert ours.is_open == theirs.is_open, "only one holds the stream for over"
        assert ours.is_accepted == theirs.is_accepted, "only one takes it for accepted"
        for side in self.sides:
            here, there = side.machine, side.peer.machine
            if here.is_open:
                assert not here.reset_sent, "a stream is open that was reset"
                assert here.eof_sent == there.eof_received, "an EOF was lost"
            assert len(side.streams) == here.number, "streams were lost"
            for heard, said in zip(side.streams, side.peer.streams, strict=True):
                if heard.is_left:
                    continue
                assert heard.heard == said.said, "bytes were lost"
                assert heard.ended_heard == said.ended, "an end was lost"

    def _end(self) -> None:
        """End the last stream; both send BYE."""
        for side in self.sides:
            side.end()
        self._settle()
        self._see_that_they_agree()
        assert not self.client.machine.is_open, "a stream has no end"
        self.client.line += self.client.machine.bye()
        self.client.line += self.client.machine.bye()
        self._settle()
        assert self.client.has_left, f"the client does not hear {LEFT}"
        assert self.server.has_left, f"the server does not hear {LEFT}"
