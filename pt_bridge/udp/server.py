"""The server's side of UDP: a socket to shadowsocks's port for each association."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pt_bridge.errors import SHORTAGES
from pt_bridge.protocol.frames import Datagram
from pt_bridge.udp.associations import Associations
from pt_bridge.udp.sockets import READ_SIZE, READS_AT_ONCE, connect
from pt_bridge.udp.stream import DatagramStream

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Callable

    from pt_bridge.protocol.address import Address

# How many associations there are at most, of all clients together: each is a socket.
MOST_OF_ALL = 4_096
UDP_SHARE = 4  # one in so many tunnels
# How often to look who has been silent for too long (seconds).
LOOK_INTERVAL = 15.0


class UdpServer:
    """The datagrams of all clients.

    Attributes:
        dropped: how many were, on streams that are over, or on the way to the service.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        service: Callable[[], Address],
        *,
        budget: int = MOST_OF_ALL * UDP_SHARE,
        on_failed: Callable[[OSError], None],
    ) -> None:
        """Begin without a stream.

        Args:
            loop: the event loop.
            service: returns the IP address and port that datagrams go to.
            budget: how many tunnels there may be, which bounds the sockets.
            on_failed: told why a datagram could not be handed over.
        """
        self._loop = loop
        self._service = service
        self._most = max(1, min(MOST_OF_ALL, budget // UDP_SHARE))
        self._on_failed = on_failed
        self._streams: dict[DatagramStream, Associations[int, socket.socket]] = {}
        self._on_ended: dict[DatagramStream, Callable[[DatagramStream], None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self.dropped = 0

    def __len__(self) -> int:
        """Return how many associations there are."""
        return sum(map(len, self._streams.values()))

    @property
    def number_dropped(self) -> int:
        """How many datagrams were dropped until now."""
        return self.dropped + sum(stream.dropped for stream in self._streams)

    def open(
        self, id: bytes, on_ended: Callable[[DatagramStream], None]
    ) -> DatagramStream:
        """Return a stream that a client opens.

        Args:
            id: its 8 bytes.
            on_ended: called when it is over.
        """
        stream = DatagramStream(self._loop, self, id)
        self._streams[stream] = Associations()
        self._on_ended[stream] = on_ended
        if self._timer is None:
            self._timer = self._loop.call_later(LOOK_INTERVAL, self._look)
        return stream

    def end(self) -> None:
        """Send EOF on all streams; their clients end them."""
        for stream in list(self._streams):
            stream.end()

    # What streams tell.

    def on_datagram(self, stream: DatagramStream, datagram: Datagram) -> None:
        """Send a datagram to shadowsocks."""
        associations, now = self._streams[stream], self._loop.time()
        sock = associations.use(datagram.association, now)
        if sock is None:
            sock = self._connect(stream, associations, datagram.association, now)
        if sock is None:
            self.dropped += 1
            return
        try:
            sock.send(datagram.data)
        except (BlockingIOError, InterruptedError):
            self.dropped += 1  # as UDP allows
        except OSError as error:  # perhaps of an earlier one, that nobody took
            self.dropped += 1
            self._on_failed(error)

    def on_stream_ended(self, stream: DatagramStream) -> None:
        """Close the sockets of a stream that is over."""
        for sock in self._streams.pop(stream).clear():
            self._close(sock)
        self.dropped += stream.dropped
        if not self._streams and self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._on_ended.pop(stream)(stream)

    def on_stream_lost(self, stream: DatagramStream, connection: Any) -> bool:
        """Leave it to its end: the client opens another."""
        return False

    # Sockets.

    def _connect(
        self,
        stream: DatagramStream,
        associations: Associations[int, socket.socket],
        number: int,
        now: float,
    ) -> socket.socket | None:
        """Return a new association's socket, None where there can be none now."""
        if not associations.admits(now):
            return None
        if len(self) >= self._most:
            self._drop_oldest()
        try:
            sock = self._open_socket()
        except OSError as error:
            self._on_failed(error)
            return None
        gone = associations.add(number, sock, now)
        if gone is not None:
            self._close(gone)
        self._loop.add_reader(sock.fileno(), self._read, stream, number, sock)
        return sock

    def _open_socket(self) -> socket.socket:
        service = self._service()
        try:
            return connect(service.host, service.port)
        except OSError as error:
            if error.errno not in SHORTAGES or not len(self):
                raise
        self._drop_oldest()
        return connect(service.host, service.port)

    def _drop_oldest(self) -> None:
        """Drop an association of the client who has most: it keeps nobody else out."""
        gone = max(self._streams.values(), key=len).drop_oldest()
        if gone is not None:
            self._close(gone)

    def _read(self, stream: DatagramStream, number: int, sock: socket.socket) -> None:
        """Send what shadowsocks answers."""
        for _ in range(READS_AT_ONCE):
            try:
                data = sock.recv(READ_SIZE)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:  # nobody listens there
                self._on_failed(error)
                return
            if len(data) < READ_SIZE:
                self._streams[stream].use(number, self._loop.time())
                stream.send(Datagram(number, data))

    def _look(self) -> None:
        """Close the sockets of who has been silent for too long."""
        now = self._loop.time()
        for associations in self._streams.values():
            for sock in associations.expire(now):
                self._close(sock)
        self._timer = self._loop.call_later(LOOK_INTERVAL, self._look)

    def _close(self, sock: socket.socket) -> None:
        self._loop.remove_reader(sock.fileno())
        sock.close()


def explain(error: OSError) -> str:
    """Return why shadowsocks has not taken a datagram.

    Args:
        error: what handing it over raised.
    """
    return (
        f"a datagram came in, and shadowsocks's own server did not take it "
        f"({str(error.strerror).lower()}): it must listen there for UDP, too, as "
        f"shadowsocks-rust does with mode and plugin_mode tcp_and_udp; or leave 'udp' "
        f"out"
    )
