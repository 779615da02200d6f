"""The session's machine: each frame in each state, pieces, limits, numbers."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pt_bridge.errors import ProtocolError
from pt_bridge.protocol.frames import (
    ACCEPTED,
    BEATEN,
    DATAGRAMS,
    ENDED,
    LAST_NUMBER,
    MAX_DATA,
    MAX_TEXT,
    SKIPPED,
    TCP,
    Cause,
    Datagram,
    Opened,
    datagram_frame,
)
from pt_bridge.protocol.session import MAX_FRAMES, Session
from tests.support.session_line import Line, RandomChoices
from tests.support.session_states import (
    BEAT,
    BYE,
    COLUMNS,
    DATA,
    EVENTS,
    FRAMES,
    ID,
    LEFT_BEHIND,
    NEVER,
    STATES,
    WAITING,
    WORDS,
    session_after,
    wire,
)

if TYPE_CHECKING:
    from pt_bridge.protocol.frames import Event

# A share of the 30,000 runs that were made once: so that a unit test takes seconds.
RUNS = 1_000
LEAST_STEPS, STEPS = 50, 350


@pytest.mark.parametrize(("is_client", "script", "row"), STATES)
def test_each_frame_in_each_state_is_heard_or_ignored_or_a_breach(
    *, is_client: bool, script: str, row: str
) -> None:
    """What only a client says never comes from a server, and the other way round."""
    for name, meaning in zip(COLUMNS, row.split(), strict=True):
        session = session_after(script, is_client=is_client)
        frame = FRAMES[name](session.number)
        if meaning == ".":
            with pytest.raises(ProtocolError):
                session.receive(frame)
        else:
            heard = session.receive(frame)
            assert heard == ([EVENTS[name]] if meaning == "x" else []), name
            assert session.has_more == (meaning == "k"), name
    # Only an end may come too late, and only of the stream just before.
    for name in NEVER:
        session = session_after(script, is_client=is_client)
        frames = FRAMES[name](session.number)
        if (script, name) == (WAITING, "OPEN+"):  # for our RESET
            assert session.receive(frames) == []
            frames = b""
            session.reset(Cause.CUT)
        with pytest.raises(ProtocolError):
            session.receive(frames)


# When the stream is over: after the last of these, and not before.
OVER = [
    (True, ">OPEN <ACCEPT >EOF <EOF"),
    (True, ">OPEN <ACCEPT <EOF >EOF"),
    (True, ">OPEN >EOF <ACCEPT <EOF"),
    (True, ">OPEN >RESET <RESET"),
    (True, ">OPEN <RESET >RESET"),
    (True, ">OPEN <ACCEPT >EOF >RESET <EOF"),
    (True, ">OPEN <ACCEPT >EOF >RESET <RESET"),
    (True, ">OPEN <ACCEPT <EOF >RESET <RESET"),
    (True, ">OPEN <ACCEPT <RESET >EOF >RESET"),
    (False, "<OPEN >ACCEPT >EOF <EOF"),
    (False, "<OPEN <EOF >ACCEPT >EOF"),
    (False, "<OPEN >RESET <EOF <RESET"),
    (False, "<OPEN <RESET >RESET"),
    (False, "<OPEN >ACCEPT <EOF <RESET >EOF"),
    (False, "<OPEN >ACCEPT <EOF <RESET >RESET"),
]


@pytest.mark.parametrize(("is_client", "script"), OVER)
def test_a_stream_is_over_when_eof_or_reset_has_passed_both_ways(
    *, is_client: bool, script: str
) -> None:
    """Not before: a half-closed stream goes on."""
    steps = script.split()
    for number in range(1, len(steps)):
        session = session_after(" ".join(steps[:number]), is_client=is_client)
        assert session.is_open
    assert not session_after(script, is_client=is_client).is_open


@pytest.mark.parametrize("end", ["EOF", "RESET"])
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_what_comes_of_a_stream_that_the_client_has_left_is_dropped(
    end: str, size: int
) -> None:
    """Whatever pieces it comes in, a part of a frame that was begun before included."""
    session = session_after(">OPEN <ACCEPT", is_client=True)
    assert session.receive(b"\3\0\0\7abc") == [b"abc"]
    session.eof()
    assert not session.may_open
    session.reset(Cause.CUT)
    session.open(ID)
    assert session.drops_former
    with pytest.raises(AssertionError):
        session.skip(1)
    said = b"defg" + DATA * 3 + FRAMES[end](1) + FRAMES["ACCEPT"](2) + DATA
    heard: list[Event] = []
    for start in range(0, len(said), size):
        heard += session.receive(said[start : start + size])
    assert heard == [ACCEPTED, b"x"]
    assert not session.drops_former


def test_a_client_leaves_only_a_stream_that_was_accepted_and_has_its_eof() -> None:
    """Else more could still come of it, and no stream of datagrams is ever left."""
    for script in (
        *(">OPEN", ">OPEN >RESET", ">OPEN <ACCEPT", ">OPEN <ACCEPT >EOF"),
        *(">OPEN <ACCEPT >RESET", ">OPEN >EOF >RESET", ">BYE"),
        *(">OPEN2 <ACCEPT >EOF >RESET", f"{LEFT_BEHIND} >EOF >RESET"),
    ):
        assert not session_after(script, is_client=True).may_open, script


def test_a_server_keeps_the_next_open_until_it_has_answered() -> None:
    """And what follows: nothing of it is lost, nor taken for the stream before."""
    session = session_after("<OPEN >ACCEPT", is_client=False)
    left = DATA + FRAMES["EOF"](1) + FRAMES["RESET"](1)
    assert session.receive(left + FRAMES["OPEN"](1) + DATA) == [
        *(b"x", ENDED, EVENTS["RESET"])
    ]
    assert session.has_more
    assert session.receive(b"") == []
    assert session.has_more
    session.reset(Cause.CUT)
    assert session.receive(b"") == [Opened(TCP, ID), b"x"]
    assert not session.has_more
    assert session.number == 2


def test_the_flags_say_what_was_said_and_heard() -> None:
    """And begin anew with the next stream."""
    session = session_after(">OPEN <ACCEPT >EOF <DATA", is_client=True)
    assert (session.number, session.is_accepted) == (1, True)
    assert (session.eof_sent, session.eof_received) == (True, False)
    session.receive(FRAMES["EOF"](1))
    assert session.eof_received
    session.open(ID)
    assert (session.number, session.is_open, session.is_accepted) == (2, True, False)
    assert (session.eof_sent, session.eof_received) == (False, False)
    session.receive(FRAMES["RESET-"](2))
    assert not session.reset_received
    session.receive(FRAMES["RESET"](2))
    assert (session.reset_sent, session.reset_received) == (False, True)
    session.reset(Cause.CUT)
    assert session.reset_sent


# What must not be said: the peer would take it for a breach.
NOT_NOW = [
    (True, ">OPEN", "OPEN"),
    (True, ">BYE", "OPEN"),
    (True, ">OPEN", "ACCEPT"),
    (True, ">OPEN", "BYE"),
    (True, "", "EOF"),
    (True, ">OPEN >EOF", "EOF"),
    (True, ">OPEN >RESET", "EOF"),
    (True, "", "RESET"),
    (True, ">OPEN >RESET", "RESET"),
    (False, "", "OPEN"),
    (False, "", "ACCEPT"),
    (False, "<OPEN >ACCEPT", "ACCEPT"),
    (False, "<OPEN >RESET", "ACCEPT"),
    (False, "<OPEN", "EOF"),
    (False, "<OPEN >ACCEPT >EOF", "EOF"),
    (False, "<OPEN >RESET <RESET", "RESET"),
    (False, "", "BYE"),
    (False, "<OPEN", "BYE"),
]


@pytest.mark.parametrize(("is_client", "script", "word"), NOT_NOW)
def test_what_may_not_come_is_not_said(
    *, is_client: bool, script: str, word: str
) -> None:
    """A fault of ours is found here, and not by the peer."""
    session = session_after(script, is_client=is_client)
    with pytest.raises(AssertionError):
        WORDS[word](session)


def test_every_word_is_a_frame_of_the_stream() -> None:
    """The very bytes, as the documentation has them."""
    client, server = Session(is_client=True), Session(is_client=False)
    assert client.open(ID) == b"\1\0\0\x0b\0\1\1" + ID
    assert server.receive(wire(1, 1, bytes([DATAGRAMS]) + ID)) == [Opened(2, ID)]
    assert server.accept() == b"\2\0\0\2\0\1"
    assert server.eof() == b"\4\0\0\2\0\1"
    assert server.reset(Cause.UNSUPPORTED, b"no") == b"\5\0\0\5\0\1\6no"
    with pytest.raises(AssertionError):
        client.open(ID)
    with pytest.raises(AssertionError):
        Session(is_client=True).open(ID[1:])
    with pytest.raises(AssertionError):
        client.reset(Cause.CUT, bytes(MAX_TEXT + 1))
    assert len(client.reset(Cause.CUT, bytes(MAX_TEXT))) == 4 + 512
    assert Session(is_client=True).bye() == BYE


HEADERS = [
    *[(3, 0), (3, MAX_DATA + 1), (3, 0xFFFFFF)],
    *[(1, 10), (1, 12), (2, 1), (2, 3), (4, 0), (4, 3), (5, 2), (5, 513)],
    *[(6, 1), (7, 1), (0x80, 513), (0xFF, 0xFFFFFF)],
    *[(0, 0), (8, 0), (0x7F, 2)],
]


@pytest.mark.parametrize(("kind", "length"), HEADERS)
def test_a_header_is_refused_before_its_payload_is_waited_for(
    kind: int, length: int
) -> None:
    """So that no peer makes us keep more than a small frame."""
    session = session_after("<OPEN", is_client=False)
    assert session.receive(bytes([kind]) + length.to_bytes(3, "big")[:2]) == []
    with pytest.raises(ProtocolError, match=f"type {kind}|{length} bytes"):
        session.receive(length.to_bytes(3, "big")[2:])


@pytest.mark.parametrize("length", [1, 65_510, MAX_DATA])
def test_a_frame_that_is_no_datagram_is_refused_by_its_header(length: int) -> None:
    """So that no peer makes us keep more than one datagram."""
    session = session_after("<OPEN2 >ACCEPT", is_client=False)
    with pytest.raises(ProtocolError, match=f"{length} bytes"):
        session.receive(b"\3" + length.to_bytes(3, "big"))


@pytest.mark.parametrize("size", [1, 3, 7, 1000, 16_384, 200_000])
def test_each_datagram_is_one_event_and_comes_whole(size: int) -> None:
    """In whatever pieces it arrives; what follows is heard as ever."""
    session = session_after(">OPEN2 <ACCEPT", is_client=True)
    said = [Datagram(7, b""), Datagram(0xFFFF, b"x"), Datagram(7, bytes(65_507))]
    wire = b"".join(map(datagram_frame, said)) + FRAMES["EOF"](1)
    heard: list[Event] = []
    for start in range(0, len(wire), size):
        heard += session.receive(wire[start : start + size])
        assert not session.data_left
    assert heard == [*said, ENDED]


def test_no_more_datagrams_are_heard_at_once_than_frames() -> None:
    """Tiny ones must not keep everything else waiting."""
    session = session_after("<OPEN2 >ACCEPT", is_client=False)
    tiny = datagram_frame(Datagram(1, b""))
    assert len(session.receive(tiny * (MAX_FRAMES + 1))) == MAX_FRAMES
    assert session.has_more
    assert session.receive(b"") == [Datagram(1, b"")]


@pytest.mark.parametrize("kind", [0x80, 0xC3, 0xFF])
@pytest.mark.parametrize("length", [0, 512])
def test_a_frame_of_a_later_version_is_skipped(kind: int, length: int) -> None:
    """With what is in it, whatever that looks like."""
    session = session_after("<OPEN", is_client=False)
    frame = bytes([kind]) + length.to_bytes(3, "big") + b"\7" * length
    assert session.receive(frame + DATA) == [SKIPPED, b"x"]


def test_the_biggest_frame_of_data_comes_in_whatever_is_in_hand() -> None:
    """It is not waited for."""
    session = session_after("<OPEN", is_client=False)
    assert session.receive(b"\3\x10\0\0") == []
    assert session.data_left == MAX_DATA
    assert session.receive(b"ab") == [b"ab"]
    session.skip(MAX_DATA - 4)
    assert session.data_left == 2
    assert session.receive(b"cd" + FRAMES["EOF"](1)) == [b"cd", ENDED]
    assert session.data_left == 0


@pytest.mark.parametrize("count", [0, 3])
def test_no_more_is_skipped_than_there_is(count: int) -> None:
    """What goes past the machine must be DATA."""
    session = session_after("<OPEN", is_client=False)
    session.receive(b"\3\0\0\3x")
    with pytest.raises(AssertionError):
        session.skip(count)


def test_nothing_new_is_no_event() -> None:
    """Neither within a frame nor between two."""
    session = session_after("<OPEN", is_client=False)
    assert session.receive(b"") == []
    session.receive(b"\3\0\0\3x")
    assert session.receive(b"") == []
    assert session.data_left == 2


def test_data_in_a_row_is_one_event() -> None:
    """Each would cost a system call."""
    session = session_after("<OPEN", is_client=False)
    assert session.receive(DATA * 3 + BEAT + DATA * 2 + b"\3\0\0\2y") == [
        *(b"xxx", BEATEN, b"xxy")
    ]


def test_so_many_frames_are_taken_at_once_and_no_more() -> None:
    """The rest is kept, and read with the next call, in order."""
    session = session_after("<OPEN", is_client=False)
    assert session.receive(BEAT * (2 * MAX_FRAMES + 1)) == [BEATEN] * MAX_FRAMES
    assert session.has_more
    assert session.receive(DATA) == [BEATEN] * MAX_FRAMES
    assert session.has_more
    assert session.receive(b"") == [BEATEN, b"x"]
    assert not session.has_more


def test_frames_that_fit_leave_nothing_to_go_on_with() -> None:
    """A part of a header, or of a small frame, has to wait for the peer."""
    for rest in (b"", b"\6\0\0"):
        session = session_after("<OPEN", is_client=False)
        assert len(session.receive(BEAT * MAX_FRAMES + rest)) == MAX_FRAMES
        assert not session.has_more
    session = session_after("<OPEN", is_client=False)
    session.receive(BEAT * MAX_FRAMES + b"\x80\0\0\5")
    assert session.has_more
    assert session.receive(b"") == []
    assert not session.has_more
    assert session.receive(b"12345") == [SKIPPED]


def test_tiny_frames_of_data_are_counted_as_well() -> None:
    """They are one event, and each of them costs its time."""
    session = session_after("<OPEN", is_client=False)
    assert session.receive(DATA * (MAX_FRAMES + 1)) == [b"x" * MAX_FRAMES]
    assert session.receive(b"") == [b"x"]


def test_what_is_kept_back_of_many_tiny_frames_is_not_copied() -> None:
    """Otherwise the time would grow with the square of what is in hand."""
    session = session_after("<OPEN", is_client=False)
    data = BEAT * (4 * MAX_FRAMES)
    for _ in range(3):
        session.receive(b"" if session.has_more else data)
        assert any(each is data for each in gc.get_referents(session))
    session.receive(b"")
    assert not any(each is data for each in gc.get_referents(session))


def test_what_came_before_a_breach_is_heard_before_it() -> None:
    """It stands, whatever piece the breach came in; and after it nothing is heard."""
    session = session_after("<OPEN", is_client=False)
    data = DATA + FRAMES["EOF"](1) + DATA + BEAT
    assert session.receive(data) == [b"x", ENDED]
    assert session.has_more
    for _ in range(2):
        with pytest.raises(ProtocolError, match="DATA where none may come"):
            session.receive(BEAT)
        assert not session.has_more


def test_a_breach_says_what_it_is() -> None:
    """In words for a log, without the peer's bytes."""
    session = session_after("<OPEN", is_client=False)
    with pytest.raises(ProtocolError) as caught:
        session.receive(wire(5, 7, b"\0secret"))
    assert str(caught.value) == "a frame of type 5 for a stream that is not open"


@pytest.mark.unmeasured
def test_numbers_begin_again_with_1_after_the_last() -> None:
    """And a RESET that comes late, across the end of the numbers, is known."""
    client, server = Session(is_client=True), Session(is_client=False)
    late = b""
    for turn in range(LAST_NUMBER + 2):
        opened = client.open(ID)
        if turn < LAST_NUMBER - 2:
            server.receive(opened + client.reset(Cause.CUT))
            client.receive(server.reset(Cause.CUT))
            continue
        server.receive(opened)
        said = server.accept() + server.eof()
        assert client.receive(late + said) == [ACCEPTED, ENDED]
        # The client's EOF crosses this, which it hears with the next stream.
        late = server.reset(Cause.CUT)
        assert server.receive(client.eof()) == [ENDED]
        assert client.number == server.number == turn % LAST_NUMBER + 1
    assert opened == wire(1, 2, bytes([TCP]) + ID)


SIDES = st.sampled_from([state[:2] for state in STATES])
PIECES = st.one_of(
    st.sampled_from(
        [*(name(number) for name in FRAMES.values() for number in (1, 2, 3))]
    ),
    st.sampled_from([BEAT * MAX_FRAMES, DATA * MAX_FRAMES, b"\3\0\0\x09xyz", b"\x80"]),
    st.binary(max_size=6),
)


def hear(session: Session, pieces: list[bytes]) -> tuple[list[Event], str]:
    """Return all that is heard, DATA in a row as one, and the breach if there is."""
    heard: list[Event] = []
    try:
        for piece in pieces:
            heard += session.receive(piece)
            while session.has_more and (more := session.receive(b"")):
                heard += more
    except ProtocolError as error:
        return joined(heard), str(error)
    return joined(heard), ""


def joined(events: list[Event]) -> list[Event]:
    """Make DATA in a row one."""
    whole: list[Event] = []
    for event in events:
        if isinstance(event, bytes) and whole and isinstance(whole[-1], bytes):
            whole[-1] += event
        else:
            whole.append(event)
    return whole


@settings(database=None, deadline=None)
@given(SIDES, st.lists(PIECES, max_size=8), st.data())
def test_however_the_bytes_are_cut_the_events_are_the_same(
    side: tuple[bool, str], said: list[bytes], draw: st.DataObject
) -> None:
    """In each state, of an honest peer and of any other."""
    is_client, script = side
    data = b"".join(said)
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(data)), max_size=9)))
    pieces = [
        data[start:end]
        for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)
    ]
    whole = hear(session_after(script, is_client=is_client), [data])
    assert hear(session_after(script, is_client=is_client), pieces) == whole
    single = [data[at : at + 1] for at in range(len(data))]
    assert hear(session_after(script, is_client=is_client), single) == whole


@pytest.mark.unmeasured
def test_two_machines_never_breach_the_protocol_and_always_agree() -> None:
    """Nor does a cut look complete, nor a RESET end a later stream (`session_line`)."""
    for seed in range(RUNS):
        choices = RandomChoices(seed)
        try:
            Line(choices).run(LEAST_STEPS + choices.below(STEPS))
        except (AssertionError, ProtocolError) as error:
            raise AssertionError(f"seed {seed}: {error}") from error
