"""The loopback servers over real connections: who calls, what they say, how they end.

An input is a crowd: calls with `BREAK` between them, which come at once. The first byte
of a call says how it goes, the others are what the caller says. Whatever that was, the
server lets in exactly those whom its protocol lets in, in so many words; it goes on
serving a good caller, and holds nothing when all have gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import os
import socket
import tempfile
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, NamedTuple

from fuzz.target import KIB, Target
from pt_bridge.listen.loopback_server import MAX_CALLERS
from pt_bridge.net.sockets import prepare, reset
from pt_bridge.protocol import ext_orport
from pt_bridge.protocol.handshake import Ask
from pt_bridge.pt.ext_orport import OrPort
from tests.support.calls import Call, call_in_pieces

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence
    from contextlib import AbstractContextManager

    from fuzz.target import Read
    from pt_bridge.protocol.address import Address

    Said = Callable[[socket.socket, object], None]

BREAK = b"\xff\xfe"
MOST_CALLS = 6
# More than the server keeps; all of them say the same. The first call may be theirs.
CROWD = MAX_CALLERS + 10
IN_CROWD, CROWD_BITS = 0b1110_0000, 0b1110_1100
# What each side of a call may cost while it goes on (bytes).
MOST_HELD = 2 * CROWD * 8 * KIB
# Calls take longer than parsing does.
SHARES = 5
# How many bytes at a time, 0 for all; and no more pieces than that.
PIECES = (0, 1, 3, 17)
MOST_PIECES = 64
# What a caller may wait for, and what the server has for letting go of everything; a
# good deal more than either takes on a busy machine (seconds).
ANSWER_LIMIT = 20.0
LET_GO_LIMIT = 5.0
LET_GO_INTERVAL = 0.001
LET_GO_TURNS = 100
READ_SIZE = 64 * KIB
# How long each of a crowd may take though others wait; then it may be reset (seconds).
PATIENCE = 0.02
PAYLOAD = b"the tunnel's own"

# How a caller ends: it reads to the end, closes, resets, or says nothing more.
READS, CLOSES, RESETS, HANGS = range(4)


class Plan(NamedTuple):
    """How a call goes.

    Attributes:
        script: what the caller says.
        proves: whether it first proves, rightly, that it is the PT.
        pieces: how many bytes it says at a time, 0 for all.
        ending: `READS`, `CLOSES`, `RESETS` or `HANGS`.
        callers: how many do all this at once.
    """

    script: bytes
    proves: bool = True
    pieces: int = 0
    ending: int = READS
    callers: int = 1

    def written(self) -> bytes:
        """Write it as part of an input."""
        how = self.ending | PIECES.index(self.pieces) << 2 | self.proves << 4
        return bytes([how | (IN_CROWD if self.callers > 1 else 0)]) + self.script


def plans(data: bytes) -> list[Plan]:
    """Read an input."""
    return [
        Plan(
            call[1:],
            proves=bool(call[0] & 1 << 4),
            pieces=PIECES[call[0] >> 2 & 3],
            ending=call[0] & 3,
            callers=CROWD if not number and call[0] & CROWD_BITS == IN_CROWD else 1,
        )
        for number, call in enumerate(data.split(BREAK)[:MOST_CALLS])
        if call
    ]


def corpus(requests: Sequence[bytes]) -> list[bytes]:
    """Return inputs to begin with: what callers say who have authenticated."""
    calls = [Plan(request + PAYLOAD) for request in requests]
    calls += [Plan(request, proves=False) for request in requests]
    calls += [Plan(requests[0], pieces=1), Plan(requests[0], ending=RESETS)]
    calls += [Plan(requests[0][:3], ending=CLOSES), Plan(b"", ending=HANGS)]
    crowd = Plan(requests[0][:3], proves=False, ending=HANGS, callers=CROWD)
    written = [call.written() for call in (*calls, crowd)]
    return [*written, BREAK.join(written[: MOST_CALLS - 1])]


class Port(ABC):
    """A server, those whom it let in, and those who call it.

    Attributes:
        good: what a good caller says once it has proven who it is.
        welcome: what whoever uses the server says then.
    """

    good: bytes
    welcome: bytes

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(self._went_wrong)
        self._wrong: list[object] = []
        # Who was let in, by where it called from.
        self._inside: dict[object, tuple[socket.socket, object]] = {}
        self._hanging: list[socket.socket] = []
        # Whether there are more callers than the server keeps.
        self._is_crowded = False
        self._idle = 0

    @abstractmethod
    def listen(self, called: Said) -> AbstractContextManager[object]:
        """Create the server's block."""

    @property
    @abstractmethod
    def address(self) -> Address:
        """Where it listens."""

    @abstractmethod
    def prove(self) -> Generator[Ask, bytes, None]:
        """Authenticate as the PT."""

    @abstractmethod
    def expect(self, said: bytes, heard: bytes) -> Call:
        """Tell how a call must go, of which all was said and perhaps not all heard."""

    @contextlib.contextmanager
    def serving(self) -> Iterator[Read]:
        """Serve; the block gets what takes an input."""
        with contextlib.closing(self._loop), self.listen(self._called):
            # Whatever there is only once is there from now on.
            self._loop.run_until_complete(asyncio.sleep(0))
            self._idle = _descriptors()
            yield self._take

    def _take(self, data: bytes) -> None:
        self._wrong.clear()
        try:
            self._loop.run_until_complete(self._play(plans(data)))
        except BaseExceptionGroup as group:
            error: BaseException = group
            while isinstance(error, BaseExceptionGroup):
                error = error.exceptions[0]
            raise error from None
        if self._wrong:
            error = AssertionError(f"the event loop was told of {self._wrong[0]!r}")
            raise error

    def _went_wrong(self, _loop: object, context: dict[str, object]) -> None:
        self._wrong.append(context.get("exception", context["message"]))

    def _called(self, sock: socket.socket, result: object) -> None:
        """Be the one who uses the server: welcome the caller, and say nothing more."""
        try:
            name = sock.getpeername()
            sock.send(self.welcome)
            sock.shutdown(socket.SHUT_WR)
        except OSError:  # it has gone
            sock.close()
            return
        self._inside[name] = sock, result

    async def _play(self, all_plans: list[Plan]) -> None:
        good = Plan(self.good + PAYLOAD)
        self._is_crowded = any(plan.callers > 1 for plan in all_plans)
        try:
            async with asyncio.timeout(ANSWER_LIMIT):
                async with asyncio.TaskGroup() as group:
                    for plan in all_plans:
                        for _ in range(plan.callers):
                            group.create_task(self._call(plan))
                served = (await self._call(good)).result is not None
                assert served, "a good caller is not served"
        except TimeoutError:
            raise AssertionError(
                f"the server neither answered nor ended in {ANSWER_LIMIT:g} s"
            ) from None
        finally:
            for sock in (*self._hanging, *(sock for sock, _ in self._inside.values())):
                reset(sock)
            self._hanging.clear()
            self._inside.clear()
        await self._let_go()

    async def _let_go(self) -> None:
        until = self._loop.time() + LET_GO_LIMIT
        turns = 0
        while (left := _descriptors() - self._idle) > 0:
            assert self._loop.time() < until, f"the server holds {left} descriptors"
            turns += 1
            await asyncio.sleep(0 if turns < LET_GO_TURNS else LET_GO_INTERVAL)

    async def _call(self, plan: Plan) -> Call:
        """Call, and see that it goes as it must; return how that is."""
        caller = Caller(self._loop)
        try:
            await caller.connect(self.address)
            if plan.proves:
                await caller.follow(self.prove())
            await caller.say(plan.script, plan.pieces)
            if plan.ending == READS:
                await caller.read_to_end()
            expected = self.expect(bytes(caller.said), bytes(caller.heard))
            await self._check(caller, expected, is_whole=plan.ending == READS)
        except BaseException:
            caller.sock.close()
            raise
        if plan.ending == HANGS:
            self._hanging.append(caller.sock)
        elif plan.ending == CLOSES:
            caller.sock.close()
        else:
            reset(caller.sock)
        return expected

    async def _check(self, caller: Caller, expected: Call, *, is_whole: bool) -> None:
        """Compare what came of a call with what must.

        Args:
            caller: who called.
            expected: what must come of it.
            is_whole: whether the caller has seen the end.
        """
        sock, result = self._inside.pop(caller.name, (None, None))
        if sock is not None:
            with sock:
                assert result == expected.result, "a caller is heard wrong, or let in"
                if is_whole:
                    payload = await _read_to_end(self._loop, sock)
                    assert payload == expected.unread, "the tunnel's first bytes differ"
        if not is_whole:
            return
        words = b"".join(said for _, said in expected.heard)
        if sock is not None:
            words += self.welcome
        elif expected.result is not None:
            is_dropped = self._is_crowded and caller.was_reset
            assert is_dropped, "a good caller is not let in"
        if caller.was_reset:  # which may take the last words back
            assert words.startswith(caller.heard), "a caller is told something else"
        else:
            assert words == caller.heard, "a caller is told something else"


class Caller:
    """Somebody who calls.

    Attributes:
        sock: the connection.
        name: where it calls from.
        said: what it has said.
        heard: what it has heard.
        was_reset: whether the server has reset the connection.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.sock = socket.socket()
        prepare(self.sock)
        self.name: object = None
        self.said, self.heard = bytearray(), bytearray()
        self.was_reset = False

    async def connect(self, address: Address) -> None:
        """Call."""
        try:
            await self._loop.sock_connect(self.sock, (address.host, address.port))
        except ConnectionResetError:  # by now
            self.was_reset = True
        self.name = self.sock.getsockname()

    async def follow(self, handshake: Generator[Ask, bytes, None]) -> None:
        """Say and hear what a handshake asks for, or what there is of it."""
        with contextlib.suppress(StopIteration, OSError):
            ask = next(handshake)
            while True:
                await self._send(ask.send)
                start = len(self.heard)
                while len(self.heard) < start + ask.read:
                    missing = start + ask.read - len(self.heard)
                    data = await self._loop.sock_recv(self.sock, missing)
                    if not data:
                        return
                    self.heard += data
                ask = handshake.send(bytes(self.heard[start:]))

    async def say(self, script: bytes, size: int) -> None:
        """Send something, so many bytes at a time."""
        size = size or len(script)
        with contextlib.suppress(OSError):  # it does not listen any more
            for _ in range(MOST_PIECES):
                if not script:
                    break
                piece, script = script[:size], script[size:]
                await self._send(piece)
                await asyncio.sleep(0)
            await self._send(script)

    async def _send(self, data: bytes) -> None:
        # Said even where it does not arrive: then nobody takes it for heard.
        self.said += data
        if data:
            await self._loop.sock_sendall(self.sock, data)

    async def read_to_end(self) -> None:
        """Half-close, and read the rest."""
        try:
            self.sock.shutdown(socket.SHUT_WR)
            while data := await self._loop.sock_recv(self.sock, READ_SIZE):
                self.heard += data
        except OSError:
            self.was_reset = True


async def _read_to_end(loop: asyncio.AbstractEventLoop, sock: socket.socket) -> bytes:
    data = bytearray()
    while more := await loop.sock_recv(sock, READ_SIZE):
        data += more
    return bytes(data)


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


class ExtendedOrPort(Port):
    """`orport.OrPort`."""

    good = ext_orport.HEAD.pack(ext_orport.DONE, 0)
    welcome = ext_orport.OKAY

    def listen(self, called: Said) -> AbstractContextManager[object]:
        """Create the server's block."""
        self._orport = OrPort(
            self._loop, called, make_folder=tempfile.mkdtemp, patience=PATIENCE
        )
        content = os.pread(self._orport.cookie_file, 64, 0)
        self._cookie = content.removeprefix(ext_orport.COOKIE_HEADER)
        return self._orport

    @property
    def address(self) -> Address:
        """Where it listens."""
        return self._orport.address

    def prove(self) -> Generator[Ask, bytes, None]:
        """Know the cookie (ext-orport-spec 2.1)."""
        yield Ask(b"", len(ext_orport.AUTHENTICATION_TYPES))
        ours = bytes(ext_orport.NONCE_LENGTH)
        answer = yield Ask(
            ext_orport.SAFE_COOKIE + ours,
            ext_orport.HASH_LENGTH + ext_orport.NONCE_LENGTH,
        )
        nonces = ours + answer[ext_orport.HASH_LENGTH :]
        words = ext_orport.FROM_CLIENT + nonces
        yield Ask(hmac.digest(self._cookie, words, "sha256"), 1)

    def expect(self, said: bytes, heard: bytes) -> Call:
        """Return how it must go with the nonce that the server chose."""
        start = len(ext_orport.AUTHENTICATION_TYPES) + ext_orport.HASH_LENGTH
        nonce = heard[start : start + ext_orport.NONCE_LENGTH]
        nonce = nonce.ljust(ext_orport.NONCE_LENGTH, b"\0")
        handshake = ext_orport.accept(cookie=self._cookie, nonce=nonce)
        return call_in_pieces(handshake, [said])


def target(name: str, port: type[Port], requests: Sequence[bytes]) -> Target:
    """Create a target of a server.

    Args:
        name: the target's.
        port: what serves.
        requests: what callers say who have proven that they are the PT.
    """
    return Target(
        name,
        lambda: port().serving(),
        (),
        corpus(requests),
        held=MOST_HELD,
        shares=SHARES,
    )
