"""The server's side of the session: whoever speaks it, and whoever does not.

Each connection that the PT brings is looked at first (`pt_bridge.session.recogniser`);
one with a session may open streams, each of which gets a connection to the service.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from pt_bridge.net.sockets import reset
from pt_bridge.protocol.frames import DATAGRAMS, TCP, Cause
from pt_bridge.session.eviction import IdleEviction
from pt_bridge.session.recogniser import Recogniser
from pt_bridge.session.sessions import Sessions
from pt_bridge.session.stream import Stream
from pt_bridge.system.log import logger
from pt_bridge.system.rate_limit import RateLimit

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Callable

    from pt_bridge.protocol.address import Address
    from pt_bridge.protocol.frames import Opened
    from pt_bridge.relay.pipes import PipePool
    from pt_bridge.session.connection import SessionConnection
    from pt_bridge.session.sessions import Limits
    from pt_bridge.udp.server import UdpServer

    # Called with a socket to the service, or with why there is none.
    OnReached = Callable[[socket.socket | Cause], None]
    # Called with whose connection it is, where anybody knows.
    Reach = Callable[[Address | None, OnReached], None]
    OnPlain = Callable[
        [socket.socket, bytes, socket.socket | None, Address | None], None
    ]

# How long the id of an accepted stream is known (seconds): no service gets it twice.
SEEN_FOR = 120.0
MAX_SEEN = 65_536  # ids
NO_SESSION = "no session, which session=only asks for"
SAID_NOTHING = "let in by the PT, and then nothing that could be carried"
MADE_ROOM = "it was silent, and others needed its place"
EVICTED = (
    "more connections are open than the limit of open files allows: those that have "
    "been silent for longest are closed; raise it (LimitNOFILE=)"
)
ACCEPTED_BEFORE = b"this stream was accepted before"
TEXTS = {
    Cause.REFUSED: b"the service does not listen",
    Cause.UNREACHABLE: b"the service cannot be reached",
    Cause.BUSY: b"the server is short of something",
}


class Client(NamedTuple):
    """Whose a connection is.

    Attributes:
        address: the client's, where anybody knows.
        cut: resets the client's own connection, which the PT may keep for long after
            its end here; None where only the PT has that.
    """

    address: Address | None
    cut: Callable[[], None] | None


class SessionServer(Sessions):
    """Takes what the PT server brings."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        pipes: PipePool,
        limits: Limits,
        on_ended: Callable[[], None],
        *,
        reach: Reach,
        on_plain: OnPlain | None,
        on_client_failed: Callable[[str], None],
        on_client_left: Callable[[Address | None], None],
        room: Callable[[], int],
        udp: UdpServer | None = None,
    ) -> None:
        """Begin without a connection.

        Args:
            loop: the event loop.
            pipes: where pipes are borrowed.
            limits: how long streams may be silent.
            on_ended: called when a stream has ended.
            reach: begins to connect to the service for a client, and calls back in any
                case.
            on_plain: gets a connection that speaks no session, the bytes that were read
                of it, the connection to the service where that was made already, and
                whose it is; or None, and they are closed.
            on_client_failed: told how one did, in a few words.
            on_client_left: told whose a connection was that is closed now, unless
                `on_plain` has got it.
            room: returns how many connections there may be, those that `on_plain` has
                got not counted. Beyond that the longest silent goes first.
            udp: carries datagrams; None where none are carried.
        """
        super().__init__(loop, pipes, limits, on_ended)
        self._reach = reach
        self._on_plain = on_plain
        self._on_client_failed = on_client_failed
        self._on_client_left = on_client_left
        self._udp = udp
        self._recognisers: dict[Recogniser, Client] = {}
        self._clients: dict[SessionConnection, Client] = {}
        self._idle: IdleEviction[Recogniser | SessionConnection] = IdleEviction(
            loop,
            self._evict,
            excess=lambda: len(self._recognisers) + self.connections - room(),
        )
        self._warnings = RateLimit()
        self._seen: dict[bytes, float] = {}
        # For which ids the service is being reached, and who waits for it.
        self._reaching: dict[bytes, list[tuple[SessionConnection, Stream]]] = {}
        self._is_retiring = False

    def take(
        self,
        plain: socket.socket,
        client: Address | None = None,
        cut: Callable[[], None] | None = None,
    ) -> None:
        """Own a connection that the PT brings, and see what it speaks.

        Args:
            plain: the connection.
            client: whose it is, where anybody knows.
            cut: see `Client`.
        """
        reach = None if self._on_plain is None else partial(self._reach, client)
        recogniser = Recogniser(self._loop, plain, reach, self)
        self._recognisers[recogniser] = Client(client, cut)
        self._idle.add(recogniser)

    def drop_silent(self) -> bool:
        """Close the connection that has carried nothing for longest, for others.

        Returns:
            Whether there was one that was silent for long enough.
        """
        return self._idle.evict_one()

    def _evict(self, silent: Recogniser | SessionConnection) -> None:
        if (text := self._warnings.admit(EVICTED, self._loop.time())) is not None:
            logger.warning("%s", text)
        if isinstance(silent, Recogniser):
            client = self._recognisers[silent]
            silent.drop()
        else:
            client = self._clients[silent]
            if silent.can_send:
                silent.say_beat()  # so that a lyrebird has something to fail to write
            silent.close(MADE_ROOM)
        if client.cut is not None:
            client.cut()

    def succeed(self, other: SessionServer) -> None:
        """Know the streams that another has accepted, and have it know ours.

        So a client that tries one again meets no second service.
        """
        self._seen, self._reaching = other._seen, other._reaching

    def retire(self) -> None:
        """Keep connections for as long as they carry something, and no longer.

        A stream that its client opens on one meanwhile, it tries on another.
        """
        self._is_retiring = True
        for connection in list(self._connections):
            if connection.stream is None:
                connection.close_gracefully()

    def cut(self) -> None:
        """Close everything at once; what is not whole is reset."""
        self._idle.stop()
        for each in list(self._recognisers):
            each.drop()
        super().cut()

    # What recognisers tell.

    def on_session(
        self, recogniser: Recogniser, plain: socket.socket, rest: bytes
    ) -> None:
        """Serve a client that speaks the session; `rest` came behind its preface."""
        client = self._forget(recogniser)
        connection = self._connect(plain, is_client=False)
        self._clients[connection] = client
        self._idle.add(connection)
        if rest:
            connection.on_bytes(rest)
        if not (connection.is_closed or connection.session.number):
            connection.begin_idle_period()  # it has opened nothing yet
            if self._is_retiring:
                connection.close_gracefully()

    def on_plain(
        self,
        recogniser: Recogniser,
        plain: socket.socket,
        first: bytes,
        local: socket.socket | None,
    ) -> None:
        """Serve a client that speaks no session, if any is to be served."""
        client = self._forget(recogniser).address
        if self._on_plain is not None:
            self._on_plain(plain, first, local, client)
            return
        logger.debug("x a client without a session, with session=only")
        self._on_client_failed(NO_SESSION)
        for sock in (plain, local):
            if sock is not None:
                reset(sock)
        self._on_client_left(client)

    def on_dropped(self, recogniser: Recogniser) -> None:
        """Forget a connection that was closed."""
        self._on_client_failed(SAID_NOTHING)
        self._on_client_left(self._forget(recogniser).address)

    def _forget(self, recogniser: Recogniser) -> Client:
        self._idle.discard(recogniser)
        return self._recognisers.pop(recogniser)

    def on_broken(self, how: str) -> None:
        """Tell that a session ended with a stream open."""
        super().on_broken(how)
        self._on_client_failed(f"a session broke off: {how}")

    # What connections tell.

    def on_closed(self, connection: SessionConnection) -> None:
        """Forget a connection that was closed, and tell whose it was."""
        super().on_closed(connection)
        self._idle.discard(connection)
        self._on_client_left(self._clients.pop(connection).address)

    def on_free(self, connection: SessionConnection) -> None:
        """Know that a connection carries nothing any more."""
        self._idle.add(connection)
        if self._is_retiring:
            connection.close_gracefully()

    def on_opened(self, connection: SessionConnection, event: Opened) -> None:
        """Reach the service for a stream, unless its id was seen before."""
        self._idle.discard(connection)
        if not connection.can_send:  # who has heard the end of the last one reads
            connection.close("the peer opens a stream, and takes no answers")
            return
        self.reused += connection.session.number > 1
        if event.kind == DATAGRAMS and self._udp is not None:
            self._carry_datagrams(connection, event.id, self._udp)
            return
        stream = Stream(self._loop, self._pipes, self, event.id, is_client=False)
        self._has_begun(stream)
        connection.expect(stream)
        if event.kind != TCP:
            stream.refuse(Cause.UNSUPPORTED, b"no streams of that kind here")
        elif self._was_seen(event.id):
            stream.refuse(Cause.SEEN, ACCEPTED_BEFORE)
        elif event.id in self._reaching:
            self._reaching[event.id].append((connection, stream))
        else:
            self._reaching[event.id] = [(connection, stream)]
            address = self._clients[connection].address
            self._reach(address, partial(self._on_reached, event.id))

    def _carry_datagrams(
        self, connection: SessionConnection, id: bytes, udp: UdpServer
    ) -> None:
        stream = udp.open(id, self.on_stream_ended)
        self._has_begun(stream)
        connection.expect(stream)
        if self._was_seen(id):
            stream.say_reset(Cause.SEEN, ACCEPTED_BEFORE)
        else:
            self._seen[id] = self._loop.time()
            connection.accept()

    def _on_reached(self, id: bytes, reached: socket.socket | Cause) -> None:
        """Give the service to the last try that is still wanted, and to no other.

        The earlier ones may be on connections that are dead, which nobody has told us.
        """
        tries = self._reaching.pop(id)
        for connection, _ in tries:
            # A client that tries again must not be told that this one was accepted.
            connection.notice_end()
        wanted = [
            (connection, stream)
            for connection, stream in tries
            if connection.stream is stream and not connection.is_closed
        ]
        if isinstance(reached, Cause):
            for _, stream in wanted:
                stream.refuse(reached, TEXTS.get(reached, b""))
            return
        if not wanted:
            reset(reached)
            return
        self._seen[id] = self._loop.time()
        connection, stream = wanted.pop()
        stream.take_local(reached)
        connection.accept()
        for _, earlier in wanted:
            earlier.refuse(Cause.SEEN, ACCEPTED_BEFORE)

    def _was_seen(self, id: bytes) -> bool:
        """Whether a stream with this id was accepted; forget those of long ago."""
        too_old = self._loop.time() - SEEN_FOR
        while self._seen:
            oldest = next(iter(self._seen))
            if self._seen[oldest] > too_old and len(self._seen) <= MAX_SEEN:
                break
            del self._seen[oldest]
        return id in self._seen
