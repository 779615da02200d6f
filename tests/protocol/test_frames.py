"""The session's frames: as docs/session.rst writes them down, byte for byte."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pt_bridge.protocol import frames
from pt_bridge.protocol.frames import (
    ACCEPTED,
    BEATEN,
    DATAGRAM_SIZES,
    ENDED,
    LEFT,
    MAGIC,
    MAX_DATA,
    MAX_DATAGRAM,
    PREFACE,
    SIZES,
    SIZES_SKIPPED,
    SKIPPED,
    Cause,
    Datagram,
    Opened,
    Recognition,
    WasReset,
    data_frame,
    data_header,
    datagram_frame,
    frame,
    read_datagram,
    recognise,
)
from pt_bridge.protocol.session import Session
from tests.support.session_states import WORDS

DOCUMENTATION = (Path(__file__).parents[2] / "docs" / "session.rst").read_text()
UNDECIDED, SESSION = Recognition.UNDECIDED, Recognition.SESSION
PLAIN, OTHER_VERSION = Recognition.PLAIN, Recognition.OTHER_VERSION
# What a server without a session may meet first: TLS, HTTP, SSH, SOCKS, nothing but 0.
USUAL = [
    b"\x16\x03\x01\x02",
    b"GET / HTTP/1.1\r\n",
    b"SSH-2.0-x",
    b"\x05\x01\x00",
    b"\0",
]


def test_the_preface_is_15_constant_bytes_and_the_version() -> None:
    """It never changes: another one would be another protocol."""
    assert bytes.fromhex("e3b19f06c7d45a8812fe6b90a34d71 01") == PREFACE


@pytest.mark.parametrize("size", range(17))
def test_a_part_of_the_preface_is_undecided_and_all_of_it_a_session(size: int) -> None:
    """Nothing is decided before the version is there."""
    assert recognise(PREFACE[:size]) is (SESSION if size == 16 else UNDECIDED)


@pytest.mark.parametrize("size", range(15))
def test_the_first_byte_that_differs_makes_it_plain(size: int) -> None:
    """However much of the preface came before, and whatever follows."""
    other = MAGIC[:size] + bytes([MAGIC[size] ^ 1])
    assert recognise(other) is PLAIN
    assert recognise(other + MAGIC[size + 1 :] + b"\1") is PLAIN


@pytest.mark.parametrize("first", USUAL)
def test_the_first_byte_of_a_usual_protocol_is_plain(first: bytes) -> None:
    """It need not wait for a second byte."""
    assert recognise(first[:1]) is recognise(first) is PLAIN


@pytest.mark.parametrize("version", [0, 2, 255])
def test_another_version_is_neither_a_session_nor_plain(version: int) -> None:
    """It is never relayed to the service."""
    assert recognise(MAGIC + bytes([version])) is OTHER_VERSION
    assert recognise(MAGIC + bytes([version]) + b"more") is OTHER_VERSION


def test_what_follows_the_preface_does_not_matter() -> None:
    """OPEN and the first bytes come in the same segment."""
    assert recognise(PREFACE + b"\xff" * 100) is SESSION


@pytest.mark.parametrize(
    ("written", "wire"),
    [
        (frame(frames.OPEN, b"\0\1\1" + b"12345678"), b"\1\0\0\x0b\0\1\x0112345678"),
        (frame(frames.ACCEPT, b"\0\1"), b"\2\0\0\2\0\1"),
        (data_frame(b"abc"), b"\3\0\0\3abc"),
        (data_header(MAX_DATA), b"\3\x10\0\0"),
        (datagram_frame(Datagram(258, b"abc")), b"\3\0\0\5\1\2abc"),
        (datagram_frame(Datagram(0xFFFF, b"")), b"\3\0\0\2\xff\xff"),
        (frame(frames.EOF, b"\xff\xff"), b"\4\0\0\2\xff\xff"),
        (frame(frames.RESET, b"\0\1\2text"), b"\5\0\0\7\0\1\2text"),
        (frames.BEAT_FRAME, b"\6\0\0\0"),
        (frames.BYE_FRAME, b"\7\0\0\0"),
    ],
)
def test_a_frame_is_its_type_its_length_and_its_payload(
    written: bytes, wire: bytes
) -> None:
    """The length is three bytes, the most significant first."""
    assert written == wire


@pytest.mark.parametrize("size", [0, MAX_DATA + 1])
def test_no_frame_of_data_is_written_that_may_not_be(size: int) -> None:
    """An empty one would mean nothing, and a longer one would wait for its sender."""
    with pytest.raises(AssertionError):
        data_header(size)
    with pytest.raises(AssertionError):
        data_frame(bytes(size))


@given(st.integers(0, 0xFFFF), st.binary(max_size=100))
def test_a_datagram_that_is_written_is_read(association: int, data: bytes) -> None:
    """Whatever its bytes, none among them."""
    datagram = Datagram(association, data)
    written = datagram_frame(datagram)
    assert read_datagram(written[4:]) == datagram
    assert len(written) - 4 in DATAGRAM_SIZES


def test_the_biggest_datagram_is_what_udp_carries() -> None:
    """And nothing beyond that is written."""
    biggest = bytes(65_507)
    assert read_datagram(datagram_frame(Datagram(1, biggest))[4:]).data == biggest
    assert len(biggest) == MAX_DATAGRAM
    assert (DATAGRAM_SIZES[0], DATAGRAM_SIZES[-1]) == (2, 2 + MAX_DATAGRAM)
    with pytest.raises(AssertionError):
        datagram_frame(Datagram(1, bytes(MAX_DATAGRAM + 1)))


def test_the_sizes_are_those_of_the_table_in_the_documentation() -> None:
    """How many bytes follow the header, at least and at most."""
    row = re.compile(
        r"^(\d) +([A-Z]+) +[a-z]+ +([\d,]+)(?: to ([\d,]+))?(?:  |$)", re.MULTILINE
    )
    table = {}
    for kind, name, least, most in row.findall(DOCUMENTATION):
        assert getattr(frames, name) == int(kind)
        sizes = [int(size.replace(",", "")) for size in (least, most or least)]
        table[int(kind)] = tuple(sizes)
    assert table.pop(frames.DATA) == (1, MAX_DATA)
    assert table == {kind: (sizes[0], sizes[-1]) for kind, sizes in SIZES.items()}
    assert (SIZES_SKIPPED[0], SIZES_SKIPPED[-1]) == (0, 512)
    assert frames.MAX_TEXT == 509


def test_the_causes_are_those_of_the_table_in_the_documentation() -> None:
    """In order; `UNKNOWN` stands for what a later version may say."""
    table = re.findall(r"^(\d) +([A-Z]+) +[a-z]", DOCUMENTATION, re.MULTILINE)
    causes = [(str(cause.value), cause.name) for cause in Cause]
    assert [row for row in table if row in causes] == causes[:-1]


@pytest.mark.parametrize(
    ("number", "cause"),
    [
        (0, Cause.CUT),
        (1, Cause.REFUSED),
        (2, Cause.UNREACHABLE),
        (3, Cause.SILENT),
        (4, Cause.SEEN),
        (5, Cause.BUSY),
        (6, Cause.UNSUPPORTED),
        (7, Cause.UNKNOWN),
        (254, Cause.UNKNOWN),
        (255, Cause.UNKNOWN),
    ],
)
def test_a_cause_is_a_number_and_a_later_one_is_unknown(
    number: int, cause: Cause
) -> None:
    """A later version may know more of them."""
    assert Cause.read(number) is cause
    if cause is not Cause.UNKNOWN:
        assert bytes([cause]) == bytes([number])


def test_no_event_is_equal_to_another_one_and_none_is_false() -> None:
    """Some have no values, which must not make them the same."""
    events = [ACCEPTED, ENDED, LEFT, BEATEN, SKIPPED]
    events += [Opened(0, b"12345678"), WasReset(Cause.CUT, b"12345678")]
    for number, event in enumerate(events):
        assert event
        assert [other == event for other in events].index(True) == number
        assert sum(other == event for other in events) == 1


def test_the_example_in_the_documentation_is_said_and_understood() -> None:
    """Byte for byte, by our own machines."""
    line = re.compile(r"^    (client|server) +([0-9a-f ]+?)  +(\w+)", re.MULTILINE)
    lines = line.findall(DOCUMENTATION)
    client, server = Session(is_client=True), Session(is_client=False)
    for who, written, word in lines:
        said = bytes.fromhex(written)
        ours, theirs = (client, server) if who == "client" else (server, client)
        if word == "preface":
            assert said == PREFACE
            continue
        if word == "OPEN":
            assert ours.open(said[-8:]) == said
        elif word == "RESET":
            assert ours.reset(Cause(said[-1])) == said
        elif word not in ("DATA", "BEAT"):
            assert WORDS[word](ours) == said
        assert len(theirs.receive(said)) == 1
    assert len(lines) == 15
    assert client.number == 2
