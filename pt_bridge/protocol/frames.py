"""The session's frames: what stands on a PT connection between two pt-bridges.

A frame is its type (1 byte), the length of what follows (3 bytes, big-endian), and that
many bytes. The protocol is written down in docs/session.rst.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from struct import Struct
from typing import NamedTuple

from pt_bridge.errors import ProtocolError

# 15 bytes, chosen once at random, the first of which begins no usual protocol; then the
# version.
MAGIC = bytes.fromhex("e3b19f06c7d45a8812fe6b90a34d71")
VERSION = 1
PREFACE = MAGIC + bytes([VERSION])

OPEN, ACCEPT, DATA, EOF, RESET, BEAT, BYE = range(1, 8)
# Types from here on are for later versions: whoever does not know them skips them.
SKIPPED_FROM = 0x80

HEADER = Struct(">I")  # the type in the first byte, the payload's length in the rest
HEADER_SIZE = 4
MAX_DATA = 1 << 20  # bytes in one DATA frame
MAX_OTHER = 512  # bytes in any other
NUMBER = Struct(">H")
LAST_NUMBER = 0xFFFF  # 1 follows it
ID_SIZE = 8
MAX_TEXT = MAX_OTHER - NUMBER.size - 1

# How many bytes may follow the header of each type but DATA.
SIZES = {
    OPEN: range(NUMBER.size + 1 + ID_SIZE, NUMBER.size + 1 + ID_SIZE + 1),
    ACCEPT: range(NUMBER.size, NUMBER.size + 1),
    EOF: range(NUMBER.size, NUMBER.size + 1),
    RESET: range(NUMBER.size + 1, MAX_OTHER + 1),
    BEAT: range(1),
    BYE: range(1),
}
SIZES_SKIPPED = range(MAX_OTHER + 1)

TCP, DATAGRAMS = 1, 2  # kinds of streams

# A DATA frame in a stream of datagrams is one: its association, then its bytes.
ASSOCIATION = Struct(">H")
ASSOCIATIONS = 1 << 16  # different ones
MAX_DATAGRAM = 65_507  # bytes: what UDP over IPv4 can carry
DATAGRAM_SIZES = range(ASSOCIATION.size, ASSOCIATION.size + MAX_DATAGRAM + 1)


class Cause(int, Enum):
    """Why a stream was reset, or refused."""

    CUT = 0  # the connection that it carried was reset
    REFUSED = 1  # the service does not listen
    UNREACHABLE = 2  # the service cannot be reached
    SILENT = 3  # nothing moved for longer than the owner allows
    SEEN = 4  # a stream with this id was accepted before
    BUSY = 5  # the server is short of something
    UNSUPPORTED = 6  # this server has no streams of that kind
    UNKNOWN = 255  # what a later version may say

    @classmethod
    def read(cls, number: int) -> Cause:
        """Return the cause of that number, `UNKNOWN` for one of a later version."""
        return cls(number) if number <= cls.UNSUPPORTED else cls.UNKNOWN


@dataclass(frozen=True, slots=True)
class Opened:
    """The client opened a stream.

    Attributes:
        kind: TCP, DATAGRAMS, or one of a later version.
        id: 8 bytes that name the stream; a second try has the same.
    """

    kind: int
    id: bytes


@dataclass(frozen=True, slots=True)
class Accepted:
    """The service behind the server has taken the stream."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The peer sends no more DATA in this stream (EOF)."""


@dataclass(frozen=True, slots=True)
class WasReset:
    """The peer has reset the stream, or refused it.

    Attributes:
        cause: why.
        text: the same in the peer's words; never to be believed, nor logged.
    """

    cause: Cause
    text: bytes


@dataclass(frozen=True, slots=True)
class Said:
    """The peer said something that means no more than that it is there.

    Attributes:
        is_beat: whether it was a BEAT, and no frame of a later version.
    """

    is_beat: bool


@dataclass(frozen=True, slots=True)
class Left:
    """The peer opens no more streams here (BYE)."""


class Datagram(NamedTuple):
    """A datagram has come.

    Attributes:
        association: whose it is, 0 to 65,535; the same for the answers.
        data: its bytes, 0 to `MAX_DATAGRAM` of them.
    """

    association: int
    data: bytes


# DATA is bytes, those of all the frames in a row, or a datagram.
Event = bytes | Datagram | Opened | Accepted | Ended | WasReset | Said | Left

ACCEPTED, ENDED, LEFT = Accepted(), Ended(), Left()
BEATEN, SKIPPED = Said(is_beat=True), Said(is_beat=False)


class Recognition(Enum):
    """What the first bytes of a PT connection tell the server."""

    UNDECIDED = "they may become a preface"
    SESSION = "they begin with the preface"
    PLAIN = "no pt-bridge with a session sent them"
    OTHER_VERSION = "a session, of a version that we do not speak"


def recognise(first: bytes) -> Recognition:
    """Return what a connection begins with; the session follows after `PREFACE`."""
    if first[: len(MAGIC)] != MAGIC[: len(first)]:
        return Recognition.PLAIN
    if len(first) <= len(MAGIC):
        return Recognition.UNDECIDED
    if first[len(MAGIC)] != VERSION:
        return Recognition.OTHER_VERSION
    return Recognition.SESSION


def number_after(number: int) -> int:
    """Return the number of the stream that follows one."""
    return number % LAST_NUMBER + 1


def number_before(number: int) -> int:
    """Return the number of the stream before one."""
    return (number - 2) % LAST_NUMBER + 1


def check_header(kind: int, length: int) -> None:
    """Refuse a frame whose type or length there is not, before its payload has come.

    Raises:
        ProtocolError: which.
    """
    if kind == DATA:
        if not 0 < length <= MAX_DATA:
            raise ProtocolError(f"a DATA frame of {length} bytes")
        return
    sizes = SIZES_SKIPPED if kind >= SKIPPED_FROM else SIZES.get(kind)
    if sizes is None:
        raise ProtocolError(f"a frame of the unknown type {kind}")
    if length not in sizes:
        raise ProtocolError(f"a frame of type {kind} with {length} bytes")


def frame(kind: int, payload: bytes = b"") -> bytes:
    """Return a whole frame."""
    return HEADER.pack(kind << 24 | len(payload)) + payload


def data_header(length: int) -> bytes:
    """Return what stands before so many bytes of DATA, 1 to `MAX_DATA`."""
    assert 0 < length <= MAX_DATA
    return HEADER.pack(DATA << 24 | length)


def data_frame(data: bytes) -> bytes:
    """Return a DATA frame with these bytes, 1 to `MAX_DATA` of them."""
    assert 0 < len(data) <= MAX_DATA
    return HEADER.pack(DATA << 24 | len(data)) + data


def datagram_frame(datagram: Datagram) -> bytes:
    """Return a DATA frame that is a datagram, of `MAX_DATAGRAM` bytes at most."""
    association, data = datagram
    assert len(data) <= MAX_DATAGRAM
    return (
        data_header(ASSOCIATION.size + len(data)) + ASSOCIATION.pack(association) + data
    )


def read_datagram(payload: bytes) -> Datagram:
    """Return the datagram in a DATA frame whose size is one of `DATAGRAM_SIZES`."""
    (association,) = ASSOCIATION.unpack_from(payload)
    return Datagram(association, payload[ASSOCIATION.size :])


BEAT_FRAME, BYE_FRAME = frame(BEAT), frame(BYE)
