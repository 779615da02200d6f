"""The client's side of UDP: shadowsocks's datagrams come to ports of ours."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from pt_bridge.protocol.frames import ID_SIZE, Datagram
from pt_bridge.udp.associations import SILENT_LIMIT, Numbers
from pt_bridge.udp.sockets import READ_SIZE, READS_AT_ONCE
from pt_bridge.udp.stream import DatagramStream

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Callable, Sequence

# How often to look who has been silent for too long (seconds).
LOOK_INTERVAL = 15.0
# How long to open no stream after one that no server accepted, twice as long each time,
# and after a server said that it carries no datagrams (seconds).
FIRST_REST, LONGEST_REST = 1.0, 60.0
UNSUPPORTED_REST = 600.0


class Carrier(Protocol):
    """Who gives streams a PT connection (`pt_bridge.session.pool`)."""

    def carry_datagrams(self, stream: DatagramStream) -> None:
        """Carry a stream, as soon as there is a PT."""

    def forget(self, stream: DatagramStream) -> None:
        """Forget a stream."""

    def on_stream_lost(self, stream: DatagramStream, connection: Any) -> bool:
        """Try a stream again, or return False."""


class UdpClient:
    """Carries the datagrams of a client's local ports while its block lasts.

    Attributes:
        dropped: how many were, on streams that are over or for want of one.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        socks: Sequence[socket.socket],
        carrier: Carrier,
        *,
        on_ended: Callable[[], None],
        is_early: bool = True,
    ) -> None:
        """Begin without a stream.

        Args:
            loop: the event loop.
            socks: bound UDP sockets, at least one, which it owns from now on.
            carrier: carries its streams.
            on_ended: called when a stream has ended.
            is_early: whether entering the block begins to read; else `open` does, where
                another one reads the same port until then.
        """
        self._loop = loop
        self._is_early = is_early
        self._socks = list(socks)
        self._carrier = carrier
        self._on_ended = on_ended
        # By the socket that a program has sent to, and its own address.
        self._numbers: Numbers[tuple[socket.socket, Any]] = Numbers()
        self._stream: DatagramStream | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._moved_at = loop.time()
        self._rests_until = self._moved_at
        self._rest = FIRST_REST
        self._is_closed = self._is_retiring = self._was_unsupported = False
        self.dropped = 0

    def __enter__(self) -> UdpClient:
        if self._is_early:
            self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        """Return how many associations there are."""
        return len(self._numbers)

    @property
    def number_dropped(self) -> int:
        """How many datagrams were dropped until now."""
        return self.dropped + (0 if self._stream is None else self._stream.dropped)

    def open(self) -> None:
        """Read what comes to the ports; safe to call again."""
        if not (self._is_closed or self._is_retiring):
            for sock in self._socks:
                self._loop.add_reader(sock.fileno(), partial(self._read, sock))

    def retire(self) -> None:
        """Read no more, since another one does; go on while answers come."""
        self._is_retiring = True
        self._stop_reading()

    def _stop_reading(self) -> None:
        for sock in self._socks:
            self._loop.remove_reader(sock.fileno())

    def close(self) -> None:
        """Close the ports, and end the stream; safe to call again."""
        if self._is_closed:
            return
        self._is_closed = True
        self._stop_reading()
        for sock in self._socks:
            sock.close()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._stream is not None:
            self._stream.end()

    def on_unsupported(self) -> bool:
        """Open no stream for a while: the server carries no datagrams.

        Returns:
            Whether it is the first time.
        """
        self._rests_until = self._loop.time() + UNSUPPORTED_REST
        is_first, self._was_unsupported = not self._was_unsupported, True
        return is_first

    def _read(self, sock: socket.socket) -> None:
        for _ in range(READS_AT_ONCE):
            try:
                data, address = sock.recvfrom(READ_SIZE)
            except OSError:  # none left, or an error of one that was sent
                return
            self._send(data, sock, address)

    def _send(self, data: bytes, sock: socket.socket, address: Any) -> None:
        now = self._loop.time()
        number = self._numbers.of((sock, address), now)
        is_resting = self._stream is None and now < self._rests_until
        if number is None or is_resting or len(data) >= READ_SIZE:
            self.dropped += 1
            return
        self._moved_at = now
        if self._stream is not None:
            self._stream.send(Datagram(number, data))
            return
        if self._timer is None:
            self._timer = self._loop.call_later(LOOK_INTERVAL, self._look)
        self._stream = DatagramStream(self._loop, self, os.urandom(ID_SIZE), local=sock)
        self._stream.send(Datagram(number, data))
        self._carrier.carry_datagrams(self._stream)

    def _look(self) -> None:
        """Forget who has been silent for too long, and end a stream that is."""
        now = self._loop.time()
        self._numbers.expire(now)
        limit = LOOK_INTERVAL if self._is_retiring else SILENT_LIMIT
        if self._stream is not None and now - self._moved_at >= limit:
            self._stream.end()
        self._timer = None
        if self._stream is not None or len(self._numbers):
            self._timer = self._loop.call_later(LOOK_INTERVAL, self._look)

    # What the stream tells.

    def on_datagram(self, stream: DatagramStream, datagram: Datagram) -> None:
        """Send an answer to the local program that it is for."""
        if self._is_closed:
            return
        self._moved_at = self._loop.time()
        found = self._numbers.address(datagram.association, self._moved_at)
        if found is None:
            return
        sock, address = found
        try:
            sock.sendto(datagram.data, address)
        except OSError:  # dropped, as UDP allows
            self.dropped += 1

    def on_stream_ended(self, stream: DatagramStream) -> None:
        """Open another with the next datagram, if this one was of use."""
        self._carrier.forget(stream)
        self.dropped += stream.dropped
        self._stream = None
        if stream.was_accepted:
            self._rest = FIRST_REST
        else:
            until = self._loop.time() + self._rest
            self._rests_until = max(self._rests_until, until)
            self._rest = min(2 * self._rest, LONGEST_REST)
        self._on_ended()

    def on_stream_lost(self, stream: DatagramStream, connection: Any) -> bool:
        """Try it on another PT connection, unless everything ends."""
        return not self._is_closed and self._carrier.on_stream_lost(stream, connection)
