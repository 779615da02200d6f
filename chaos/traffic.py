"""The connections: of many kinds, all at once, each checked to its last byte."""

from __future__ import annotations

import asyncio
import math
import random
import socket
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from chaos.content import CHUNK, content, is_right
from chaos.schedule import Route
from chaos.service import ANSWER, HEADER, RECEIPT, Request
from chaos.verdict import Ending, Failure, calm
from pt_bridge.net.sockets import half_close, reset

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from chaos.service import Service
    from chaos.verdict import Window

KIB, MIB = 1024, 1024 * 1024
# How many connections each route carries at once.
WORKERS = 8
# How long a worker rests between two connections, at most, and after one that failed:
# as people do, who would only see it fail again (seconds).
REST = 0.15
REST_AFTER_FAILURE = 1.0
# A connection that did nothing for so long, misdeeds left out, is stuck (seconds),
# beside the time in which its peer's death may be noticed.
STUCK = 15.0
LOOK_INTERVAL = 0.5  # seconds
# The largest payload is 2 to the power of this; small ones are as likely as large.
LARGEST = 22
MESSAGE = 4 * KIB
MOST_MESSAGES = 8
# How long a reader or the service is silent in the midst of a payload (seconds).
SILENCE = (0.5, 2.0)
# How long one that only tries the port stays (seconds).
PROBE = 0.4
SOCKS_GREETING, SOCKS_METHOD = b"\x05\x01\x00", b"\x05\x00"
SOCKS_CONNECT = b"\x05\x01\x00\x01"
SOCKS_REPLY_SIZE = 10


class Kind(Enum):
    """What a connection does."""

    ECHO = "echo"
    DOWNLOAD = "download"
    UPLOAD = "upload"
    HALF_CLOSE = "half-close"
    PROBE = "probe"
    RESET = "reset by the client"
    CUT = "reset by the service"
    SLOW_READER = "slow reader"
    SLOW_SERVICE = "slow service"


# Those that shadowsocks-libev can carry: it ends both ways at the first EOF.
KINDS = {
    Route.SHADOWSOCKS: tuple(each for each in Kind if each is not Kind.HALF_CLOSE),
    Route.STANDALONE: tuple(Kind),
}


class Wrong(Exception):
    """A byte came that nobody sent."""


@dataclass
class Talk:
    """One connection, while it lasts.

    Attributes:
        route: where.
        kind: what it does.
        began: when it was opened.
        last: when it last moved a byte.
        limit: ends it.
        missing: how many of the bytes announced are still to come.
        was_open: whether the service has answered.
    """

    route: Route
    kind: Kind
    began: float
    last: float
    limit: asyncio.Timeout
    missing: int = 0
    was_open: bool = False


@dataclass
class Count:
    """What became of a route's connections."""

    tried: int = 0
    whole: int = 0
    cut_on_purpose: int = 0


@dataclass
class Traffic:
    """The connections of a run, and what became of them.

    Attributes:
        ports: where each route begins.
        after: how long each may take to notice a misdeed (seconds).
        service: where each ends.
        windows: the misdeeds so far.
        counts: of each route.
        failures: those that did not do what was announced.
        received: how many bytes came back and were right.
    """

    ports: dict[Route, int]
    after: dict[Route, float]
    service: Service
    windows: Sequence[Window]
    counts: dict[Route, Count] = field(
        default_factory=lambda: {route: Count() for route in Route}
    )
    failures: list[Failure] = field(default_factory=list)
    received: int = 0
    _open: dict[int, Talk] = field(default_factory=dict)
    _streams: int = 0

    async def flow(self, seed: int, is_over: Callable[[], bool]) -> None:
        """Open one connection after the other, on all routes, until it is over."""
        async with asyncio.TaskGroup() as workers:
            for route in Route:
                for number in range(WORKERS):
                    name = f"{seed} {route.value} {number}"
                    workers.create_task(self._work(route, name, is_over))

    async def _work(self, route: Route, name: str, is_over: Callable[[], bool]) -> None:
        source = random.Random(name)  # noqa: S311 - no secret
        while not is_over():
            worked = await self.open(route, source.choice(KINDS[route]), source)
            rest = REST if worked else REST_AFTER_FAILURE
            await asyncio.sleep(source.uniform(0, rest))

    async def once(self, seed: int) -> None:
        """Open one connection of each kind on each route, all at once."""
        async with asyncio.TaskGroup() as group:
            for route in Route:
                for kind in KINDS[route]:
                    source = random.Random(f"{seed} {kind.value}")  # noqa: S311
                    group.create_task(self.open(route, kind, source))

    async def crowd(self, route: Route, number: int) -> None:
        """Open so many small connections at once."""
        async with asyncio.TaskGroup() as group:
            for each in range(number):
                source = random.Random(each)  # noqa: S311 - no secret
                group.create_task(self.open(route, Kind.ECHO, source))

    async def watch(self) -> None:
        """End the connections that are stuck; runs until it is cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(LOOK_INTERVAL)
            now = loop.time()
            for talk in self._open.values():
                limit = STUCK + self.after[talk.route]
                if calm(talk.route, talk.last, now, self.windows) > limit:
                    talk.last = math.inf  # once
                    talk.limit.reschedule(now)

    async def open(self, route: Route, kind: Kind, source: random.Random) -> bool:
        """Open one connection, and note what becomes of it; tell whether it worked."""
        loop = asyncio.get_running_loop()
        self._streams += 1
        stream = self._streams
        count = self.counts[route]
        count.tried += 1
        now = loop.time()
        talk = Talk(route, kind, now, now, asyncio.timeout(None))
        self._open[stream] = talk
        sock = socket.socket()
        sock.setblocking(False)
        ending: Ending | None = None
        try:
            async with talk.limit:
                await self._connect(talk, sock)
                await self._converse(talk, sock, stream, source)
        except TimeoutError:
            ending = Ending.STUCK
        except Wrong:
            ending = Ending.WRONG
        except EOFError:
            ending = Ending.EOF
        except ConnectionRefusedError:
            ending = Ending.REFUSED
        except OSError:
            ending = Ending.RESET
        finally:
            sock.close()
            del self._open[stream]
        if kind is Kind.CUT and _is_cut_on_purpose(talk, ending):
            ending = None
        if ending is not None:
            self.failures.append(
                Failure(
                    *(route, kind.value, ending, talk.began, loop.time()),
                    was_open=talk.was_open,
                    missing=talk.missing,
                    stream=stream,
                )
            )
        elif kind in (Kind.CUT, Kind.RESET, Kind.PROBE):
            count.cut_on_purpose += 1
        else:
            count.whole += 1
        return ending is None

    async def _connect(self, talk: Talk, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        await loop.sock_connect(sock, ("127.0.0.1", self.ports[talk.route]))
        if talk.route is Route.SHADOWSOCKS:
            await loop.sock_sendall(sock, SOCKS_GREETING)
            if await self._read(talk, sock, len(SOCKS_METHOD)) != SOCKS_METHOD:
                raise Wrong
            host, port = self.service.address
            target = socket.inet_aton(host) + port.to_bytes(2)
            await loop.sock_sendall(sock, SOCKS_CONNECT + target)
            await self._read(talk, sock, SOCKS_REPLY_SIZE)

    async def _converse(
        self, talk: Talk, sock: socket.socket, stream: int, source: random.Random
    ) -> None:
        if talk.kind is Kind.PROBE:
            await asyncio.sleep(source.uniform(0, PROBE))
            return
        is_exact = talk.route is Route.STANDALONE
        request = _request(talk.kind, stream, source)._replace(is_exact=is_exact)
        talk.missing = request.answered
        await self._send(talk, sock, HEADER.pack(*request))
        if talk.kind is Kind.HALF_CLOSE:
            half_close(sock)
        if await self._read(talk, sock, ANSWER.size) != ANSWER.pack(stream):
            raise Wrong
        talk.was_open = True
        talk.missing -= ANSWER.size
        await self._give(talk, sock, request)
        if talk.kind is Kind.RESET:
            await self._check(talk, sock, stream, 0, request.down // 2)
            reset(sock)
            return
        pause = source.uniform(*SILENCE) if talk.kind is Kind.SLOW_READER else 0.0
        half = request.down // 2
        await self._check(talk, sock, stream, 0, half)
        await asyncio.sleep(pause)
        talk.last = asyncio.get_running_loop().time()
        await self._check(talk, sock, stream, half, request.down - half)
        if await self._receive(talk, sock, 1) or talk.kind is Kind.CUT:
            raise Wrong  # more than was announced, or all in spite of the cut

    async def _give(self, talk: Talk, sock: socket.socket, request: Request) -> None:
        """Send what the service is to take; have it echoed, or get a receipt."""
        sent = 0
        most = MESSAGE if request.is_echo else CHUNK
        while sent < request.up:
            piece = content(request.stream, sent, min(most, request.up - sent))
            await self._send(talk, sock, piece)
            if request.is_echo:
                await self._check(talk, sock, request.stream, sent, len(piece))
            sent += len(piece)
        if request.up and not request.is_echo:
            receipt = await self._read(talk, sock, RECEIPT.size)
            talk.missing -= RECEIPT.size
            if receipt != RECEIPT.pack(request.up):
                raise Wrong

    async def _check(
        self, talk: Talk, sock: socket.socket, stream: int, offset: int, size: int
    ) -> None:
        """Read so many bytes of a stream, and look at each."""
        end = offset + size
        while offset < end:
            data = await self._receive(talk, sock, min(CHUNK, end - offset))
            if not data:
                raise EOFError
            if not is_right(data, stream, offset):
                raise Wrong
            offset += len(data)
            talk.missing -= len(data)
            self.received += len(data)

    async def _read(self, talk: Talk, sock: socket.socket, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = await self._receive(talk, sock, size - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    async def _receive(self, talk: Talk, sock: socket.socket, size: int) -> bytes:
        loop = asyncio.get_running_loop()
        data = await loop.sock_recv(sock, size)
        talk.last = loop.time()
        return data

    async def _send(
        self, talk: Talk, sock: socket.socket, data: bytes | memoryview
    ) -> None:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(sock, data)
        talk.last = loop.time()


def _is_cut_on_purpose(talk: Talk, ending: Ending | None) -> bool:
    """Return whether a failure is the service's reset: it may overtake the answer."""
    if talk.route is Route.SHADOWSOCKS and talk.was_open and ending is Ending.EOF:
        return True
    return ending is Ending.RESET


def _request(kind: Kind, stream: int, source: random.Random) -> Request:
    """Return what a connection of a kind asks for."""
    size = int(2 ** source.uniform(0, LARGEST))
    match kind:
        case Kind.ECHO:
            up = source.randint(1, MOST_MESSAGES * MESSAGE)
            return Request(stream, up=up, is_echo=True)
        case Kind.UPLOAD:
            return Request(stream, up=size)
        case Kind.CUT:
            return Request(stream, down=size + 1, cut=max(1, size // 2))
        case Kind.RESET:
            return Request(stream, down=max(size, MIB), resets=True)
        case Kind.SLOW_READER:
            return Request(stream, down=max(size, MIB))
        case Kind.HALF_CLOSE:
            return Request(stream, down=size, half_closes=True)
        case Kind.SLOW_SERVICE:
            return Request(stream, down=size, pause=source.uniform(*SILENCE))
        case _:
            return Request(stream, down=size)
