"""PT connections for a client's datagrams: a ready one, or one that is dialled.

A tunnel must not fail where it can be helped; datagrams may be lost, and must not be
late. So there is no second connection beside the first, and no long wait.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from pt_bridge.net.sockets import reset

if TYPE_CHECKING:
    import asyncio
    import socket

    from pt_bridge.pool.pool import Pool
    from pt_bridge.pool.spares import Dial
    from pt_bridge.session.connection import SessionConnection
    from pt_bridge.udp.stream import DatagramStream

# How often to look whether there is a PT again, while datagrams wait for one (seconds).
LOOK_INTERVAL = 0.25
# How many connections that were made for a stream may end before ACCEPT.
MAX_ATTEMPTS = 2


class DatagramCarrier:
    """Carries streams of datagrams on the connections of a pool."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, pool: Pool, dial: Dial, patience: float
    ) -> None:
        """Carry nothing yet.

        Args:
            loop: the event loop.
            pool: has the connections.
            dial: begins to dial the server, and calls back in any case.
            patience: how long a stream may wait for the next PT (seconds).
        """
        self._loop = loop
        self._pool = pool
        self._dial = dial
        self._patience = patience
        self._timers: dict[DatagramStream, asyncio.TimerHandle] = {}

    def carry_datagrams(self, stream: DatagramStream) -> None:
        """Carry a stream, as soon as there is a PT."""
        self._pool.begin(stream)
        self._place(stream, self._loop.time() + self._patience)

    def forget(self, stream: DatagramStream) -> None:
        """Forget a stream."""
        timer = self._timers.pop(stream, None)
        if timer is not None:
            timer.cancel()
        self._pool.forget(stream)

    def on_stream_lost(
        self, stream: DatagramStream, connection: SessionConnection
    ) -> bool:
        """Try a stream again that no server has accepted yet."""
        if stream not in self._pool.streams:
            return False
        stream.attempts += connection.is_fresh
        if stream.attempts >= MAX_ATTEMPTS:
            return False
        self._pool.cuts -= 1  # it is no end of it
        self._pool.tried_again += 1
        self._place(stream, self._loop.time() + self._patience, is_fresh=True)
        return True

    def _place(
        self, stream: DatagramStream, until: float, *, is_fresh: bool = False
    ) -> None:
        """Find a connection for a stream; wait for a PT if need be, for a while."""
        self._timers.pop(stream, None)
        connection = None if is_fresh else self._pool.take_idle()
        if connection is not None:
            connection.open(stream)
        elif self._pool.is_open:
            on_dialled = partial(self._on_dialled, stream, until)
            self._dial(None, on_dialled, None)
        elif self._loop.time() >= until:
            stream.cut()
        else:
            self._wait(stream, until)

    def _wait(self, stream: DatagramStream, until: float) -> None:
        self._timers[stream] = self._loop.call_later(
            LOOK_INTERVAL, self._place, stream, until
        )

    def _on_dialled(
        self,
        stream: DatagramStream,
        until: float,
        got: socket.socket | Exception | None,
        way: object = None,
    ) -> None:
        is_wanted = stream in self._pool.streams
        if got is None or isinstance(got, Exception):
            if is_wanted and got is None:  # the PT has gone
                self._wait(stream, until)
            elif is_wanted:
                stream.cut()  # the next datagram tries again
        elif is_wanted:
            connection = self._pool.connect(got)
            connection.way = way
            connection.open(stream)
        else:
            reset(got)
