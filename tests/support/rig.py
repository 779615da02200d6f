"""Both sides of the session in one loop, with a PT between them that a test plays.

::

    host ── client ── Line, the PT ── server ── service

The sockets are real, the clock is the test's. At the end of a rig no pipe is lent, no
timer runs and nothing is watched; that no descriptor is left is seen for every test.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from pt_bridge.net.sock_diag import SockDiag, cannot_tell
from pt_bridge.net.sockets import reset
from pt_bridge.pool.pool import Pool
from pt_bridge.pool.preconnect import Preconnect
from pt_bridge.protocol.frames import Cause
from pt_bridge.relay.pipes import PipePool
from pt_bridge.relay.pump import CopyPump, End
from pt_bridge.session.server import SessionServer
from pt_bridge.session.sessions import Limits
from pt_bridge.session.stream import Stream
from tests.support.clock import ClockedLoop
from tests.support.tcp import pair, turn_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from pt_bridge.pool.spares import OnDialled
    from pt_bridge.protocol.address import Address
    from pt_bridge.protocol.frames import WasReset
    from pt_bridge.udp.server import UdpServer

    OnReached = Callable[[socket.socket | Cause], None]

PATIENCE = 30.0  # seconds for the next PT
TICK = 0.0002  # seconds that a turn of the loop takes


class Line:
    """A PT that carries one connection, and closes both its ends when one has gone.

    Attributes:
        client, server: the ends that our two sides get.
        is_held: whether nothing goes through.
    """

    def __init__(self, *, is_held: bool = False) -> None:
        self.client, self._near = pair()
        self.server, self._far = pair()
        self._loop = asyncio.get_running_loop()
        self._pumps: list[CopyPump] = []
        self.is_held = is_held
        if not is_held:
            self._start()

    def _start(self) -> None:
        for source, sink in ((self._near, self._far), (self._far, self._near)):
            pump = CopyPump(self._loop, source, sink, self._ended)
            self._pumps.append(pump)
            pump.start()

    def _ended(self, _: End) -> None:
        self.close()

    def hold(self) -> None:
        """Stop relaying; what is read and not written yet would be lost."""
        assert not any(pump.is_blocked for pump in self._pumps)
        self._stop()
        self.is_held = True

    def release(self) -> None:
        """Relay again."""
        self.is_held = False
        self._start()

    def _stop(self) -> None:
        for pump in self._pumps:
            pump.stop()
        self._pumps.clear()

    def close(self) -> None:
        """End both connections, as a PT does."""
        self._stop()
        self._near.close()
        self._far.close()

    def cut(self) -> None:
        """Reset both connections, as the death of a PT does."""
        self._stop()
        reset(self._near)
        reset(self._far)


class Plainly(NamedTuple):
    """A connection of shadowsocks's that is to be carried without a session.

    Attributes:
        local: it.
        first: what was read of it.
        way: by which way; None for any.
        plain: the connection through the PT, where there is one already.
        on_answer, on_unanswered: what is to be called, or None.
    """

    local: socket.socket
    first: bytes
    way: object
    plain: socket.socket | None
    on_answer: Callable[[], None] | None
    on_unanswered: Callable[[], None] | None


class Rig:
    """Two sides that talk to each other, and what a test plays of the rest.

    Attributes:
        clock: the loop, with the test's time.
        client, server: the two sides.
        lines: the connections through the PT, in order.
        asked: who waits for a connection to the service, where `reaches` is False.
        reaches: whether the service is reached at once.
        dials: what dialling gives; True for a connection.
        way: by which way.
        refusals: what the client was told.
        unaccepted: how often the client gave up a stream that was accepted nowhere.
        plain: the connections that spoke no session.
        speaks_session: whether the PT leads to the server; or else to the test.
        room: how many connections the server may have.
        plainly: what the client carries without a session.
        avoided: by which way each connection was not to be made.
        late: by which ways streams were not accepted in time.
    """

    def __init__(
        self,
        pipes: PipePool,
        limits: Limits | None = None,
        *,
        detects: bool = False,
        preconnect: int | None = 0,
        is_early: bool = True,
        udp: Callable[[asyncio.AbstractEventLoop], UdpServer] | None = None,
        local_has_closed: Callable[[socket.socket], bool | None] = cannot_tell,
    ) -> None:
        self.clock = ClockedLoop(asyncio.get_running_loop())
        loop = self.clock.as_loop
        self.pipes = pipes
        self.limits = limits or Limits()
        self.lines: list[Line] = []
        self.asked: list[OnReached] = []
        self.services: list[socket.socket] = []
        self.reaches: bool | Cause = True
        self.dials: bool | Exception | None = True
        self.dialled: list[OnDialled] = []
        self.unaccepted = 0
        self.holds_lines = False
        self.pt_is_ending = False
        self.refusals: list[WasReset] = []
        self.plain: list[
            tuple[socket.socket, bytes, socket.socket | None, Address | None]
        ] = []
        self.speaks_session = True
        self.way: object = None
        self.plainly: list[Plainly] = []
        self.sockets: list[socket.socket] = []
        self.ended = {"client": 0, "server": 0}
        self.avoided: list[object] = []
        self.late: list[object] = []
        self.client = Pool(
            loop,
            pipes,
            self.limits,
            lambda: self._count("client"),
            dial=self.dial,
            patience=PATIENCE,
            on_refused=self.refusals.append,
            on_unaccepted=self._on_unaccepted,
            on_late=self.late.append,
            pt_is_ending=lambda: self.pt_is_ending,
            carry_plain=self._carry_plain if detects else None,
            server_of=lambda way: way,
            preconnect=Preconnect(preconnect),
            is_early=is_early,
            local_has_closed=local_has_closed,
        )
        self.failures: list[str] = []
        self.left: list[Address | None] = []
        self.reached_for: list[Address | None] = []
        self.room = 1_000
        self.server = SessionServer(
            loop,
            pipes,
            self.limits,
            lambda: self._count("server"),
            reach=self._reach,
            on_plain=lambda *what: self.plain.append(what),
            on_client_failed=self.failures.append,
            on_client_left=self.left.append,
            room=lambda: self.room,
            udp=None if udp is None else udp(loop),
        )
        self.client.open()

    def _on_unaccepted(self) -> None:
        self.unaccepted += 1

    def _count(self, side: str) -> None:
        self.ended[side] += 1

    def dial(
        self, local: socket.socket | None, on_dialled: OnDialled, avoid: object
    ) -> None:
        del local
        self.avoided.append(avoid)
        if self.dials is True:
            on_dialled(self.line().client, self.way)
        elif self.dials is False:
            self.dialled.append(on_dialled)
        else:
            on_dialled(self.dials)

    def line(self) -> Line:
        """Create one more connection to the server."""
        line = Line(is_held=self.holds_lines)
        self.lines.append(line)
        if self.speaks_session:
            self.server.take(line.server)
        else:
            self.sockets.append(line.server)
        return line

    def _carry_plain(
        self,
        local: socket.socket,
        first: bytes = b"",
        *,
        way: object = None,
        plain: socket.socket | None = None,
        on_answer: Callable[[], None] | None = None,
        on_unanswered: Callable[[], None] | None = None,
    ) -> None:
        self.sockets += [local] if plain is None else [local, plain]
        told = Plainly(local, first, way, plain, on_answer, on_unanswered)
        self.plainly.append(told)

    def _reach(self, client: Address | None, on_reached: OnReached) -> None:
        self.reached_for.append(client)
        if self.reaches is False:
            self.asked.append(on_reached)
        elif self.reaches is True:
            on_reached(self.service())
        else:
            on_reached(self.reaches)

    def service(self, *, send_buffer: int = 0) -> socket.socket:
        """Connect to the service, the other end of which is the test's from now on."""
        service, local = pair()
        if send_buffer:
            local.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        self.services.append(service)
        self.sockets.append(service)
        return local

    def carry(self, first: bytes = b"", *, receive_buffer: int = 0) -> socket.socket:
        """Hand the client a connection of a host's; return the host's end."""
        local, host = pair(receive_buffer=receive_buffer)
        self.sockets.append(host)
        if first:
            host.send(first)
        self.client.carry(local)
        return host

    async def both(
        self, *, receive_buffer: int = 0
    ) -> tuple[socket.socket, socket.socket]:
        """Carry one connection; return its host's and its service's end."""
        number = len(self.services)
        host = self.carry(receive_buffer=receive_buffer)
        await turn_until(lambda: len(self.services) > number)
        stream = self.stream
        await turn_until(lambda: stream.kept is None)
        return host, self.services[-1]

    async def both_beside(self) -> tuple[socket.socket, socket.socket]:
        """Carry one more connection beside those that there are."""
        number = len(self.services)
        before = set(self.client.streams)
        host = self.carry()
        (stream,) = self.client.streams - before
        await turn_until(lambda: len(self.services) > number and stream.kept is None)
        return host, self.services[-1]

    async def make_idle(self, number: int = 1) -> None:
        """Carry so many streams to their ends, so that their connections are idle."""
        pairs = [await self.both_beside() for _ in range(number)]
        for host, service in pairs:
            host.close()
            service.close()
        await self.over(number)

    @property
    def stream(self) -> Stream:
        """The client's one stream."""
        (stream,) = self.client.streams
        assert isinstance(stream, Stream)
        return stream

    @property
    def server_stream(self) -> Stream:
        """The server's one stream."""
        (stream,) = self.server.streams
        assert isinstance(stream, Stream)
        return stream

    @property
    def stream_is_open(self) -> bool:
        """Whether a PT connection has a stream."""
        return not self.client.idle

    async def over_on_client(self) -> None:
        """Wait until the client has ended its one stream."""
        async with self.ticking():
            await turn_until(lambda: not self.client.streams)

    async def over(self, number: int = 1) -> None:
        """Wait until both sides have ended so many streams, and not one more.

        After bulk the last bytes may be waited for together with others, for a while.
        """
        async with self.ticking():
            await turn_until(lambda: set(self.ended.values()) == {number})
        assert not self.client.streams
        assert not self.server.streams

    async def pass_by(self, seconds: float, *, step: float = 0.25) -> None:
        """Advance the time, while everybody acts."""
        left = seconds
        while left > 0:
            self.clock.pass_by(min(step, left))
            left -= step
            for _ in range(4):
                await asyncio.sleep(0)

    async def until(self, is_so: Callable[[], object]) -> None:
        """Advance the time until something is so."""
        while not is_so():
            await self.pass_by(0.02, step=0.02)

    @contextlib.asynccontextmanager
    async def ticking(self) -> AsyncIterator[None]:
        """Advance the time while the block lasts, about as fast as it passes."""

        async def tick() -> None:
            while True:
                self.clock.pass_by(TICK)
                await asyncio.sleep(0)

        async with asyncio.TaskGroup() as tasks:
            ticks = tasks.create_task(tick())
            try:
                yield
            finally:
                ticks.cancel()

    @property
    def timers(self) -> int:
        """How many timers run."""
        return self.clock.timers

    def close(self) -> None:
        """Take everything down, and see that nothing is left."""
        self.client.cut()
        self.server.cut()
        for each in self.asked:
            each(Cause.UNREACHABLE)
        for got in self.dialled:
            got(None)
        self.client.cut()
        for line in self.lines:
            line.close()
        for sock in self.sockets:
            sock.close()
        for sock, _, local, _ in self.plain:
            sock.close()
            if local is not None:
                local.close()
        assert self.timers == 0
        assert self.pipes.lent == 0
        for side in (self.client, self.server):
            assert (len(side.streams), side.connections) == (0, 0)


@contextlib.contextmanager
def rig(
    limits: Limits | None = None,
    *,
    pipes: PipePool | None = None,
    detects: bool = False,
    preconnect: int | None = 0,
    is_early: bool = True,
    udp: Callable[[asyncio.AbstractEventLoop], UdpServer] | None = None,
) -> Iterator[Rig]:
    """Build a rig, and take it down again."""
    with pipes or PipePool(most=4) as pool, SockDiag() as diag:
        built = Rig(
            pool,
            limits,
            detects=detects,
            preconnect=preconnect,
            is_early=is_early,
            udp=udp,
            local_has_closed=diag.peer_has_closed,
        )
        try:
            yield built
        finally:
            built.close()
