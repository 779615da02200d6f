"""What stands behind the tunnels: it takes, checks and gives what it is asked to."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import TYPE_CHECKING, NamedTuple, SupportsIndex

from chaos.content import CHUNK, content, is_right
from pt_bridge.net.sockets import NO_LINGER

if TYPE_CHECKING:
    from collections.abc import Iterable

    Address = tuple[str, int]

# The first bytes of a connection, and the first of the answer: the stream's number, so
# that an answer that came the wrong way is seen.
ANSWER = struct.Struct("!Q")
# Behind what was taken: how many bytes of it were right, up to the first wrong one.
RECEIPT = struct.Struct("!Q")


class Request(NamedTuple):
    """What a connection asks for.

    Attributes:
        stream: the number of the stream that goes each way.
        up: how many bytes the service is to take.
        is_echo: whether it gives them back as they come; else it gives a receipt.
        down: how many bytes it is to give.
        cut: after how many of these it resets the connection; 0 for never.
        pause: how long it waits in the midst of them (seconds).
        half_closes: whether the client has ended its side, and the service is to wait
            for that end before it gives.
        resets: whether the client resets the connection in the midst of them.
        is_exact: whether nobody on the way turns a reset into an EOF.
    """

    stream: int
    up: int = 0
    is_echo: bool = False
    down: int = 0
    cut: int = 0
    pause: float = 0.0
    half_closes: bool = False
    resets: bool = False
    is_exact: bool = False

    @property
    def answered(self) -> int:
        """How many bytes come back in all: the length that is announced."""
        receipt = RECEIPT.size if self.up and not self.is_echo else 0
        return ANSWER.size + (self.up if self.is_echo else receipt) + self.down


HEADER = struct.Struct("!QQ?QQd???")


class Reader(asyncio.StreamReader):
    """Takes note of a request even where a reset comes before it is looked at."""

    def __init__(self, seen: set[int]) -> None:
        super().__init__()
        self._seen = seen
        self._first = b""

    def feed_data(self, data: Iterable[SupportsIndex]) -> None:
        """Take what has come."""
        data = bytes(data)
        if len(self._first) < HEADER.size:
            self._first += data[: HEADER.size - len(self._first)]
            if len(self._first) == HEADER.size:
                self._seen.add(Request._make(HEADER.unpack(self._first)).stream)
        super().feed_data(data)


class Service:
    """Listens for as long as its block lasts.

    Attributes:
        address: where.
        open: how many connections there are.
        taken: how many bytes came that were right.
        wrong: how many connections brought a wrong byte.
        looked_whole: how many connections that were cut or reset ended with an EOF.
        seen: the streams whose request has come.
    """

    def __init__(self) -> None:
        """Find a port; entering the block begins to listen."""
        self._sock = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.address: Address = self._sock.getsockname()
        self.open = 0
        self.taken = 0
        self.wrong = 0
        self.looked_whole = 0
        self.seen: set[int] = set()

    async def __aenter__(self) -> Service:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._protocol, sock=self._sock)
        return self

    def _protocol(self) -> asyncio.StreamReaderProtocol:
        return asyncio.StreamReaderProtocol(Reader(self.seen), self._serve)

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.open += 1
        try:
            # Whoever is cut sees it at its own end of the tunnel; cancelled are those
            # that are left where the run itself is cut short.
            with contextlib.suppress(OSError, EOFError, asyncio.CancelledError):
                header = await reader.readexactly(HEADER.size)
                await self._answer(Request._make(HEADER.unpack(header)), reader, writer)
        finally:
            self.open -= 1
            writer.close()

    async def _answer(
        self,
        request: Request,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        writer.write(ANSWER.pack(request.stream))
        if request.half_closes and await reader.read(1):
            self.wrong += 1
        taken = await self._take(request, reader, writer)
        if request.up and not request.is_echo:
            writer.write(RECEIPT.pack(taken))
        end = request.cut or request.down
        given = 0
        has_paused = not request.pause
        while given < end:
            if not has_paused and given >= request.down // 2:
                has_paused = True
                await asyncio.sleep(request.pause)
            piece = content(request.stream, given, min(CHUNK, end - given))
            writer.write(piece)
            given += len(piece)
            await writer.drain()
        if request.cut:
            sock: socket.socket = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
            writer.transport.abort()
        if request.resets:
            # Where it had ended with an error, `drain` or this raises that.
            await reader.read()
            self.looked_whole += request.is_exact

    async def _take(
        self,
        request: Request,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> int:
        """Read what is to come; return how much of it was right."""
        taken, is_all_right = 0, True
        right = 0
        while taken < request.up:
            data = await reader.read(min(CHUNK, request.up - taken))
            if not data:
                self.looked_whole += request.is_exact
                raise EOFError
            if is_all_right and is_right(data, request.stream, taken):
                right += len(data)
                self.taken += len(data)
            elif is_all_right:
                is_all_right = False
                self.wrong += 1
            taken += len(data)
            if request.is_echo:
                writer.write(data)
                await writer.drain()
        return right
