"""How bytes move from one socket to another.

A pump is driven by the event loop's readers and writers: while nothing moves it is an
object and nothing else, no task and no buffer. What it holds while its sink is slow is
one chunk.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Callable

    Ended = Callable[["End"], None]
    PumpMaker = Callable[
        [asyncio.AbstractEventLoop, socket.socket, socket.socket, Ended], "CopyPump"
    ]

CHUNK = 64 * 1024  # bytes read at once, and so the most that is ever held


class End(Enum):
    """How a pump ended."""

    EOF = "the source ended, and all that came from it was written"
    SOURCE_RESET = "the source was reset"
    SINK_RESET = "the sink was reset"
    SINK_CLOSED = "the sink had sent its own EOF, and then closed for good"


class CopyPump:
    """Moves bytes one way, from the source until it ends or either side fails.

    It never closes a socket nor half-closes one: what an end means is for the one who
    hears of it. After an end, or after `stop`, it touches neither socket.

    Attributes:
        moved: bytes written so far.
        last: the loop's time when bytes last moved, or when it was started.
    """

    __slots__ = (
        "_loop",
        "_on_ended",
        "_rest",
        "_running",
        "_sink",
        "_source",
        "last",
        "moved",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        source: socket.socket,
        sink: socket.socket,
        on_ended: Callable[[End], None],
    ) -> None:
        """Create a pump that stands still.

        Args:
            loop: whose readers and writers drive it.
            source: a non-blocking socket to read from.
            sink: a non-blocking socket to write to.
            on_ended: called once with how it ended, but not after `stop`.
        """
        self._loop = loop
        self._source = source
        self._sink = sink
        self._on_ended = on_ended
        self._rest: memoryview | None = None
        self._running = False
        self.moved = 0
        self.last = 0.0

    @property
    def is_blocked(self) -> bool:
        """Whether bytes wait for the sink to take them."""
        return self._rest is not None

    def start(self, first: bytes = b"") -> None:
        """Begin to move bytes; `first` goes before what the source has."""
        self._running = True
        self.last = self._loop.time()
        if first:
            self._rest = memoryview(first)
            self._loop.add_writer(self._sink.fileno(), self._write)
        else:
            self._loop.add_reader(self._source.fileno(), self._read)

    def stop(self) -> None:
        """Stand still for good; bytes that the sink has not taken are lost.

        Who was to hear of the end is forgotten: a tunnel and its pumps that point at
        each other would stay until the garbage collector comes.
        """
        self._on_ended = _tell_nobody
        if not self._running:
            return
        self._running = False
        if self._rest is None:
            self._loop.remove_reader(self._source.fileno())
        else:
            self._loop.remove_writer(self._sink.fileno())
            self._rest = None

    def _receive(self, most: int) -> bytes | None:
        """Read what the source has; None for nothing, or where that ended us."""
        try:
            data = self._source.recv(most)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError:
            self._end(End.SOURCE_RESET)
            return None
        if not data:
            self._end(End.EOF)
            return None
        return data

    def _read(self) -> None:
        self._copy(CHUNK)

    def _copy(self, most: int) -> int:
        """Move what the source has, at most so many bytes; return how many it had."""
        data = self._receive(most)
        if data is None:
            return 0
        sent = self._send(data)
        if sent is not None and sent < len(data):
            self._loop.remove_reader(self._source.fileno())
            self._rest = memoryview(data)[sent:]
            self._loop.add_writer(self._sink.fileno(), self._write)
        return len(data)

    def _write(self) -> None:
        assert self._rest is not None  # else there is no writer
        sent = self._send(self._rest)
        if sent is None:
            return
        self._rest = self._rest[sent:]
        if not self._rest:
            self._loop.remove_writer(self._sink.fileno())
            self._rest = None
            self._loop.add_reader(self._source.fileno(), self._read)

    def _send(self, data: bytes | memoryview) -> int | None:
        """Write what the sink takes now; return how much, or None if that ended us."""
        try:
            sent = self._sink.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except BrokenPipeError:
            self._end(End.SINK_CLOSED)
            return None
        except OSError:
            self._end(End.SINK_RESET)
            return None
        self.moved += sent
        self.last = self._loop.time()
        return sent

    def _end(self, how: End) -> None:
        on_ended = self._on_ended
        self.stop()
        on_ended(how)


def _tell_nobody(_: End) -> None:
    pass


class Drain:
    """Reads a socket to its end and throws away what comes.

    To close a socket while bytes arrive on it makes the kernel reset the connection,
    and then the other side may lose what we sent it last. A drain in between lets the
    last bytes through.
    """

    __slots__ = ("_loop", "_on_ended", "_source")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        source: socket.socket,
        on_ended: Callable[[], None],
    ) -> None:
        """Begin to read at once; `ended` is called once, but not after `stop`."""
        self._loop = loop
        self._source = source
        self._on_ended = on_ended
        loop.add_reader(source.fileno(), self._read)

    def stop(self) -> None:
        """Stop reading."""
        self._loop.remove_reader(self._source.fileno())

    def _read(self) -> None:
        try:
            data = self._source.recv(CHUNK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self.stop()
            self._on_ended()
