"""Parsers and servers that are broken on purpose, each in one of the ways that matter.

Every one must be found (``scripts/fuzz --planted``): a search that finds nothing proves
something only where it finds what is there.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
from typing import TYPE_CHECKING

from fuzz import ports, sessions
from fuzz.target import parser
from pt_bridge.errors import OptionsError, ProtocolError
from pt_bridge.listen.loopback_server import LoopbackServer
from pt_bridge.protocol.frames import HEADER_SIZE, NUMBER, RESET, Event
from pt_bridge.protocol.handshake import Ask
from pt_bridge.protocol.session import Session
from tests.support.calls import Call, call_in_pieces

if TYPE_CHECKING:
    from collections.abc import Generator
    from contextlib import AbstractContextManager

    from pt_bridge.protocol.address import Address

OPTIONS = [b"transport=obfs4;cert=AAAA", b"server;a=b"]
HELLO, PASSWORD = b"?", b"password"
VERSION, IPV4, NAME = 5, 1, 3
REQUESTS = [b"\5\1\x7f\0\0\1", b"\5\3\x09a.example"]
WELCOME = b"come in"
# Choices of two machines on a line, made at random once and for all.
LINES = [random.Random(seed).randbytes(400) for seed in range(4)]  # noqa: S311
KEPT: list[bytes] = []
ROWS = re.compile(rb"[^;]*(?:;+)+$")


def _is_deep(data: bytes) -> bool:
    """Return what no chance input is: it must be come near to, a step at a time."""
    if data[:1] != b"{":
        return False
    if data[1:2] != b"%":
        return False
    return data[2:3] == b"}"


def lets_an_error_out(data: bytes) -> None:
    """Raise what is none of ours."""
    if _is_deep(data):
        raise KeyError("planted")


def hangs(data: bytes) -> None:
    """Loop for ever."""
    while _is_deep(data):
        pass


def is_slow(data: bytes) -> None:
    """Try every way to cut a row of semicolons into rows."""
    ROWS.match(data)


def hoards(data: bytes) -> None:
    """Take two pages for each byte."""
    _ = [bytes(8192) for _ in data.partition(b"=")[2]]


def costs_too_much(data: bytes) -> None:
    """Take much memory for little."""
    bytes(1 << 20 if b";" in data else 0)


def takes_all_memory(data: bytes) -> None:
    """Take more than there is."""
    if _is_deep(data):
        bytes(1 << 32)


def keeps_inputs(data: bytes) -> None:
    """Keep what came in."""
    if b";" in data:
        KEPT.append(data[:5] + b".")


def keeps_descriptors(data: bytes) -> None:
    """Leave a file open."""
    if _is_deep(data):
        os.open(os.devnull, os.O_RDONLY)


def reads_otherwise(data: bytes) -> None:
    """Read something else than was written."""
    assert not data.endswith(b"="), "it is read otherwise than it was written"


def raises_the_wrong_one(data: bytes) -> None:
    """Raise one of ours that this may not."""
    if _is_deep(data):
        raise ProtocolError("planted")


def says_nothing(data: bytes) -> None:
    """Refuse without a word."""
    if _is_deep(data):
        raise OptionsError


def ends_the_process(data: bytes) -> None:
    """Take everything down, as a fault in C does."""
    if _is_deep(data):
        os.abort()


class EndsALaterStream(Session):
    """Takes a RESET that came late for one of the stream that is open."""

    __slots__ = ()

    def _hear(self, kind: int, payload: bytes) -> Event | None:
        if kind == RESET and self.is_open and not self.reset_received:
            payload = NUMBER.pack(self.number) + payload[NUMBER.size :]
        return super()._hear(kind, payload)


class LosesAPart(Session):
    """Forgets a header that comes in two pieces."""

    __slots__ = ()

    def receive(self, data: bytes) -> list[Event]:
        """Return what the peer's bytes mean."""
        events = super().receive(data)
        if len(self._buffer) == HEADER_SIZE - 1 and not self.has_more:
            self._buffer = b""
        return events


def ends_a_later_stream(data: bytes) -> None:
    """Mix up two streams of a session."""
    sessions.talk_on_a_line(data, EndsALaterStream)


def loses_a_part(data: bytes) -> None:
    """Return something else where the bytes come in pieces."""
    with contextlib.suppress(ProtocolError):
        sessions.hear_a_peer(data, LosesAPart)


def serve() -> Generator[Ask, bytes, bytes]:
    """Be the server of a small protocol: a password, and then a version and a host."""
    yield Ask(b"", len(HELLO))
    said = yield Ask(b"+", len(PASSWORD))
    if said != PASSWORD:
        raise ProtocolError("a wrong password")
    version, kind = yield Ask(b"+", 2)
    if version != VERSION or kind not in (IPV4, NAME):
        raise ProtocolError("a request of another kind")
    length = 4
    if kind == NAME:
        (length,) = yield Ask(b"", 1)
    host = yield Ask(b"", length)
    yield Ask(WELCOME, 0)
    return host


class Door(ports.Port):
    """Lets everybody in who knows the password, and asks for a host."""

    good = REQUESTS[1]
    welcome = b"!"

    def listen(self, called: ports.Said) -> AbstractContextManager[object]:
        """Create the server's block."""
        self._callback = LoopbackServer(self._loop, self.accept, called)
        return self._callback

    def accept(self) -> Generator[Ask, bytes, object]:
        """Create the server's side of a handshake."""
        return serve()

    @property
    def address(self) -> Address:
        """Where it listens."""
        return self._callback.address

    def prove(self) -> Generator[Ask, bytes, None]:
        """Know the password."""
        yield Ask(HELLO, 1)
        yield Ask(PASSWORD, 1)

    def expect(self, said: bytes, heard: bytes) -> Call:
        """Return how it must go."""
        return call_in_pieces(serve(), [said])


class LetsAnErrorOut(Door):
    """Trips over a version."""

    def accept(self) -> Generator[Ask, bytes, object]:
        """Create the server's side of a handshake."""
        real = super().accept()
        said = yield next(real)
        said = yield real.send(said)
        said = yield real.send(said)
        if said[0] == 4:
            raise KeyError("planted")
        try:
            while True:
                said = yield real.send(said)
        except StopIteration as end:
            return end.value


class LetsAnybodyIn(Door):
    """Lets in who knows no password, or asks wrongly."""

    def accept(self) -> Generator[Ask, bytes, object]:
        """Create the server's side of a handshake."""
        try:
            return (yield from super().accept())
        except ProtocolError:
            return b""


class ReadsTooMuch(Door):
    """Takes the tunnel's first byte for its own."""

    def accept(self) -> Generator[Ask, bytes, object]:
        """Create the server's side of a handshake."""
        host = yield from super().accept()
        yield Ask(b"", 1)
        return host


class GoesDeaf(Door):
    """Serves nobody any more once it has met somebody who asks wrongly."""

    is_deaf = False

    def accept(self) -> Generator[Ask, bytes, object]:
        """Create the server's side of a handshake."""
        if self.is_deaf:
            raise ProtocolError("planted")
        try:
            return (yield from super().accept())
        except ProtocolError:
            self.is_deaf = True
            raise


TARGETS = (
    *(
        parser(f"planted.{read.__name__}", read, (OptionsError,), OPTIONS)
        for read in (
            *(lets_an_error_out, raises_the_wrong_one, says_nothing),
            *(reads_otherwise, hangs, is_slow),
            *(hoards, costs_too_much, takes_all_memory),
            *(keeps_inputs, keeps_descriptors, ends_the_process),
        )
    ),
    parser("planted.ends_a_later_stream", ends_a_later_stream, (), LINES),
    parser("planted.loses_a_part", loses_a_part, (), [b"\0\x80\0"]),
    *(
        ports.target(f"planted.{port.__name__}", port, REQUESTS)
        for port in (LetsAnErrorOut, LetsAnybodyIn, ReadsTooMuch, GoesDeaf)
    ),
)
