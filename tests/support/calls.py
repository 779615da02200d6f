"""A call to the server's side of a handshake, that arrives in pieces of any size."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pt_bridge.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from pt_bridge.protocol.handshake import Ask

    Handshake = Generator[Ask, bytes, object]


class Call(NamedTuple):
    """How a call went.

    Attributes:
        heard: what the server said, each with how many bytes it had read before.
        result: what the handshake returned, or None while it waits for more.
        error: the text of its ProtocolError, or None.
        unread: the bytes that it left alone.
    """

    heard: list[tuple[int, bytes]]
    result: object
    error: str | None
    unread: bytes


def call_in_pieces(handshake: Handshake, pieces: Iterable[bytes]) -> Call:
    """Feed a handshake with pieces; each step gets exactly what it asks for."""
    heard = []
    buffer, read = b"", 0
    pieces = iter(pieces)
    try:
        ask = next(handshake)
        while True:
            if ask.send:
                heard.append((read, ask.send))
            while len(buffer) < ask.read:
                piece = next(pieces, None)
                if piece is None:
                    return Call(heard, None, None, buffer)
                buffer += piece
            answer, buffer = buffer[: ask.read], buffer[ask.read :]
            read += len(answer)
            ask = handshake.send(answer)
    except StopIteration as end:
        return Call(heard, end.value, None, b"".join([buffer, *pieces]))
    except ProtocolError as error:
        return Call(heard, None, str(error), b"".join([buffer, *pieces]))


def call(make: Callable[[], Handshake], data: bytes) -> Call:
    """Check that a call goes the same way in whatever pieces it arrives."""
    whole = call_in_pieces(make(), [data])
    for pieces in _splits(data):
        assert call_in_pieces(make(), pieces) == whole, pieces
    return whole


def _splits(data: bytes) -> Iterator[list[bytes]]:
    yield [bytes([byte]) for byte in data]
    yield from ([data[:end], data[end:]] for end in range(1, min(len(data), 300)))
