"""The two machines on their line: that what is wrong with one of them is found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pt_bridge.errors import ProtocolError
from pt_bridge.protocol.frames import RESET, TCP, Ended, Event, Opened
from pt_bridge.protocol.session import Session
from tests.support.session_line import GivenChoices, Line, RandomChoices

if TYPE_CHECKING:
    from pt_bridge.protocol.frames import Cause
    from tests.support.session_line import MachineFactory

RUNS = 300  # each fault is found in a few of them
STEPS = 200


class EndsALaterStream(Session):
    """Takes a RESET that came late for one of the stream that is open."""

    __slots__ = ()

    def _hear(self, kind: int, payload: bytes) -> Event | None:
        if kind == RESET and self.is_open and not self.reset_received:
            payload = self.number.to_bytes(2, "big") + payload[2:]
        return super()._hear(kind, payload)


class BearsNoLateReset(Session):
    """Knows only the stream that is open."""

    __slots__ = ()

    def _is_late_reset(self, number: int) -> bool:
        return False


class EndsTooSoon(Session):
    """Says the end of the stream when it was reset without one."""

    __slots__ = ()

    def receive(self, data: bytes) -> list[Event]:
        events = super().receive(data)
        return [*events, Ended()] if self.reset_received and events else events


class StopsTooSoon(Session):
    """Does not say that it has kept frames back."""

    __slots__ = ()

    def receive(self, data: bytes) -> list[Event]:
        events = super().receive(data)
        self.has_more = False
        return events


class LosesTheEnd(Session):
    """Does not hear an EOF that comes with DATA."""

    __slots__ = ()

    def receive(self, data: bytes) -> list[Event]:
        events = super().receive(data)
        if events and isinstance(events[0], bytes):
            return [event for event in events if not isinstance(event, Ended)]
        return events


class CountsWrong(Session):
    """Counts one byte too few of those that went past it."""

    __slots__ = ()

    def skip(self, count: int) -> None:
        """Count one too few, if there are enough."""
        super().skip(count - 1 or 1)


class ForgetsIds(Session):
    """Takes each stream for the first."""

    __slots__ = ()

    def _hear_open(self, number: int, payload: bytes) -> Opened:
        return Opened(super()._hear_open(number, payload).kind, bytes(8))


class IsOverTooSoon(Session):
    """Ends with an EOF in one direction only."""

    __slots__ = ()

    def _see_whether_it_is_over(self) -> None:
        if self.eof_sent or (self.reset_sent and self.reset_received):
            self.is_open = False


class SaysAnotherCause(Session):
    """Says what was not the cause."""

    __slots__ = ()

    def reset(self, cause: Cause, text: bytes = b"") -> bytes:
        """Reset the stream."""
        return super().reset(cause, text + b"!")


class DropsNothing(Session):
    """Takes what comes of a stream that it has left for the next one's."""

    __slots__ = ()

    def open(self, id: bytes, kind: int = TCP) -> bytes:
        """Open a stream, and forget the one before."""
        opened = super().open(id, kind)
        self.drops_former = False
        return opened


class WaitsForNoAnswer(Session):
    """Takes an OPEN before it has answered the RESET of the stream before."""

    __slots__ = ()

    @property
    def _must_answer_reset(self) -> bool:
        return False


BROKEN = {
    EndsALaterStream: "a stream out of nothing",
    BearsNoLateReset: "a frame of type 5 for a stream that is not open",
    EndsTooSoon: "a cut looks complete",
    StopsTooSoon: "bytes were lost",
    LosesTheEnd: "an end was lost",
    CountsWrong: "a frame of the unknown type",
    ForgetsIds: "another stream is opened",
    IsOverTooSoon: "DATA where none may come",
    SaysAnotherCause: "another stream is reset",
    DropsNothing: "DATA where none may come",
    WaitsForNoAnswer: "an OPEN that may not come now",
}


def run(make: MachineFactory) -> None:
    """Let two machines talk as often as is needed to see a fault."""
    for seed in range(RUNS):
        Line(RandomChoices(seed), make).run(STEPS)


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_machine_is_found(broken: type[Session]) -> None:
    """A search that finds nothing proves something only where it finds something."""
    with pytest.raises((AssertionError, ProtocolError), match=BROKEN[broken]):
        run(broken)


def test_everything_happens_in_the_runs_of_some_seeds() -> None:
    """A line on which nothing is said would prove nothing either."""
    accepted = ended = reset = cut = refused = late = again = 0
    for seed in range(RUNS):
        line = Line(RandomChoices(seed))
        line.run(STEPS)
        again += len(line.client.streams) > 3
        cut += not line.client.has_left
        for ours, theirs in zip(line.client.streams, line.server.streams, strict=False):
            accepted += theirs.accepted
            refused += bool(theirs.reset) and not theirs.accepted
            ended += ours.ended_heard and theirs.ended_heard
            reset += bool(ours.reset or theirs.reset)
            late += theirs.ended and bool(theirs.reset) and ours.reset is None
    assert min(accepted, ended, reset, cut, refused, late, again) > RUNS // 10


def test_choices_that_are_given_are_taken_in_turn() -> None:
    """The fuzzer's inputs are choices."""
    choices = GivenChoices(bytes([7, 8]))
    assert [choices.below(limit) for limit in (5, 10, 9)] == [2, 8, 0]


def test_the_same_choices_are_the_same_run() -> None:
    """So that a failure happens again."""
    for seed in range(3):
        lines = [Line(RandomChoices(seed)) for _ in range(2)]
        for line in lines:
            line.run(STEPS)
        said = [[bytes(each.said) for each in line.client.streams] for line in lines]
        assert said[0] == said[1]
