"""The ways into the session: its preface, a machine with any peer, two on a line."""

from __future__ import annotations

import pickle

from fuzz.parsers import BESIDE, PIECES
from pt_bridge.errors import ProtocolError
from pt_bridge.protocol.frames import (
    DATAGRAM_SIZES,
    MAGIC,
    MAX_OTHER,
    PREFACE,
    Cause,
    Event,
    Recognition,
    recognise,
)
from pt_bridge.protocol.session import MAX_FRAMES, Session
from tests.support.session_line import GivenChoices, Line, MachineFactory
from tests.support.session_states import STATES, session_after

# How many choices a step on a session's line takes, on the average; and how many things
# happen in a run at most: many short ones find more than a few long ones.
CHOICES_PER_STEP = 3
MOST_STEPS = 200


def recognise_pieces(data: bytes) -> None:
    """Recognise what a connection begins with; what is decided stays decided."""
    decided = Recognition.UNDECIDED
    for size in range(min(len(data), len(PREFACE) + 1) + 1):
        now = recognise(data[:size])
        if decided is not Recognition.UNDECIDED:
            assert now is decided, "more bytes change what was decided"
        decided = now
    begins = data.startswith(MAGIC) or MAGIC.startswith(data)
    assert (decided is Recognition.PLAIN) is not begins, "a part of it is not seen"
    is_session = data.startswith(PREFACE)
    assert (decided is Recognition.SESSION) is is_session, "it is not recognised"


def hear_a_peer(data: bytes, make: MachineFactory = Session) -> None:
    """Hear any peer in any state: in pieces the same, and with little kept.

    Args:
        data: what the peer says; the first byte chooses the state.
        make: what makes the machine.
    """
    is_client, script, _ = STATES[data[0] % len(STATES) if data else 0]
    said = data[1:]
    ears = [
        Ear(session_after(script, is_client=is_client, make=make), said, size)
        for size in (len(said) or 1, *PIECES)
    ]
    for ear in ears[1:]:
        assert ear.heard == ears[0].heard, "in pieces something else is heard"
        assert ear.breach == ears[0].breach, "in pieces something else is a breach"
    if ears[0].breach:
        raise ProtocolError(ears[0].breach)


class Ear:
    """What a machine hears of a peer that speaks in pieces of some size.

    Attributes:
        heard: the events, those of DATA in a row as one.
        breach: what the breach is, or "".
    """

    def __init__(self, session: Session, said: bytes, size: int) -> None:
        self.heard: list[Event] = []
        self.breach = ""
        try:
            for start in range(0, len(said), size):
                self._hear(session, said[start : start + size])
                held = len(pickle.dumps(session))
                most = DATAGRAM_SIZES[-1] if session.carries_datagrams else MAX_OTHER
                assert held <= most + BESIDE, f"a machine holds {held} bytes"
        except ProtocolError as error:
            self.breach = str(error)

    def _hear(self, session: Session, piece: bytes) -> None:
        self._note(session.receive(piece))
        while session.has_more:
            self._note(session.receive(b""))
            if session.is_open and session.reset_received > session.reset_sent:
                session.reset(Cause.CUT)  # an OPEN may wait for it

    def _note(self, events: list[Event]) -> None:
        # That of a piece of DATA which goes on before, and one for each frame.
        assert len(events) <= MAX_FRAMES + 1, "too much is heard at once"
        for event in events:
            assert event, "an event says nothing"
            last = self.heard[-1] if self.heard else None
            if isinstance(event, bytes) and isinstance(last, bytes):
                self.heard[-1] = last + event
            else:
                self.heard.append(event)


def talk_on_a_line(data: bytes, make: MachineFactory = Session) -> None:
    """Let two machines say what they may, on a line.

    Args:
        data: each choice.
        make: what makes the machines.
    """
    steps = min(len(data) // CHOICES_PER_STEP, MOST_STEPS)
    try:
        Line(GivenChoices(data), make).run(steps)
    except ProtocolError as error:
        raise AssertionError(f"one does not understand the other: {error}") from error
