"""Parsers and servers that are broken on purpose, each in one of the ways that matter.

Every one must be found (``scripts/fuzz --planted``): a search that finds nothing proves
something only where it finds what is there.
"""

from __future__ import annotations

import contextlib
import os
import re
from typing import TYPE_CHECKING

from fuzz import ports
from fuzz.parsers import PASSWORD, SOCKS5_PROOF, USER
from fuzz.target import parser
from pt_bridge.callback import Callback
from pt_bridge.errors import OptionsError, ProtocolError
from pt_bridge.protocol import socks5_server
from pt_bridge.protocol.address import Address
from pt_bridge.protocol.socks5 import Ask
from tests.protocol.calls import Call, call_in_pieces

if TYPE_CHECKING:
    from collections.abc import Generator
    from contextlib import AbstractContextManager

OPTIONS = [b"transport=obfs4;cert=AAAA", b"server;a=b"]
REQUESTS = [b"\5\1\0\1\x7f\0\0\1\0\x50", b"\5\1\0\3\x09a.example\0\x50"]
KEPT: list[bytes] = []
ROWS = re.compile(rb"[^;]*(?:;+)+$")


def _is_deep(data: bytes) -> bool:
    """Tell what no chance input is: it must be come near to, a step at a time."""
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
    """Go round for ever."""
    while _is_deep(data):
        pass


def is_slow(data: bytes) -> None:
    """Try every way to cut a row of semicolons into rows."""
    ROWS.match(data)


def hoards(data: bytes) -> None:
    """Take a page for each byte."""
    _ = [bytes(4096) for _ in data.partition(b"=")[2]]


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


class Proxy(ports.Port):
    """A SOCKS5 proxy that lets everybody in who knows the password."""

    good = b"\5\1\0\3\x09a.example\0\x50"
    welcome = socks5_server.REPLY_SUCCEEDED

    def listen(self, called: ports.Said) -> AbstractContextManager[object]:
        """Make the server's block."""
        self._callback = Callback(self._loop, self.accept, called)
        return self._callback

    def accept(self) -> Generator[Ask, bytes, object]:
        """Make the server's side of a handshake."""
        return socks5_server.accept(user=USER, password=PASSWORD)

    @property
    def address(self) -> Address:
        """Where it listens."""
        return self._callback.address

    def prove(self) -> Generator[Ask, bytes, None]:
        """Know the password (RFC 1929)."""
        yield Ask(SOCKS5_PROOF[:3], 2)
        yield Ask(SOCKS5_PROOF[3:], 2)

    def expect(self, said: bytes, heard: bytes) -> Call:
        """Tell how it must go."""
        handshake = socks5_server.accept(user=USER, password=PASSWORD)
        return call_in_pieces(handshake, [said])


class LetsAnErrorOut(Proxy):
    """Trips over a version."""

    def accept(self) -> Generator[Ask, bytes, object]:
        """Make the server's side of a handshake."""
        real = super().accept()
        answer = yield next(real)
        if answer[0] == 4:
            raise KeyError("planted")
        try:
            while True:
                answer = yield real.send(answer)
        except StopIteration as end:
            return end.value


class LetsAnybodyIn(Proxy):
    """Takes any user name of a certain length for the right one."""

    def accept(self) -> Generator[Ask, bytes, object]:
        """Make the server's side of a handshake."""
        real = super().accept()
        answer = next(real)
        with contextlib.suppress(StopIteration):
            while True:
                said = yield answer
                if len(said) == len(PASSWORD):
                    said = PASSWORD
                answer = real.send(said)
        return Address("a.example", 80)


class ReadsTooMuch(Proxy):
    """Takes the tunnel's first byte for its own."""

    def accept(self) -> Generator[Ask, bytes, object]:
        """Make the server's side of a handshake."""
        address = yield from super().accept()
        yield Ask(b"", 1)
        return address


class GoesDeaf(Proxy):
    """Serves nobody any more once it has met somebody who asks for no IPv4 address."""

    is_deaf = False

    def accept(self) -> Generator[Ask, bytes, object]:
        """Make the server's side of a handshake."""
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
    *(
        ports.target(f"planted.{port.__name__}", port, REQUESTS)
        for port in (LetsAnErrorOut, LetsAnybodyIn, ReadsTooMuch, GoesDeaf)
    ),
)
