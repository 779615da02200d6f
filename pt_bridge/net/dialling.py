"""What is under way until there is a connection, and calls back then.

It is driven by the event loop's readers and writers. A task that waits for each answer
would cost three times as many turns of the loop, and to open tunnels is half of what
browsers ask of a relay. Who can wait awaits `connected`.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from typing import TYPE_CHECKING, Any, Protocol

from pt_bridge.net.handshake import HandshakeRunner
from pt_bridge.net.loopback import leave_unpaced
from pt_bridge.net.sockets import is_established, prepare

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from pt_bridge.net.time_limit import TimeLimit
    from pt_bridge.protocol.address import Address
    from pt_bridge.protocol.socks_client import Handshake

    # Gets a connection, which is its own then, or the error that ended the dialling;
    # called once, and never before the dialling was returned to who began it.
    OnConnected = Callable[[socket.socket | Exception], None]


class Dialling(Protocol):
    """A connection that is being made."""

    def cancel(self) -> None:
        """Give it up: nothing is left of it, and nobody is called back any more."""


class HandshakeDialling:
    """Connects to the PT, or to a proxy, and goes through a handshake."""

    __slots__ = (
        "_has_died",
        "_is_writing",
        "_limit",
        "_loop",
        "_on_connected",
        "_peer",
        "_runner",
        "_sock",
        "_steps",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        listener: Address,
        handshake: Handshake,
        on_connected: OnConnected,
        *,
        limit: TimeLimit,
        peer: str = "the PT",
        has_died: Callable[[], bool] | None = None,
    ) -> None:
        """Begin to connect.

        Args:
            loop: the event loop.
            listener: where it listens, an IP address.
            handshake: what to say to it (`socks_client.connect`,
                `http_connect.connect`).
            on_connected: gets the connection, ready for the tunnel's own bytes, of
                which none was read; or ProtocolError where it refused, or OSError where
                it cannot be reached, or not in time (TimeoutError).
            limit: how long all of it may take.
            peer: what errors call it.
            has_died: tells whether it has; then nothing is said, for its port may be
                another user's by now, who must not hear where we want to go.
        """
        self._loop = loop
        self._steps = handshake
        self._on_connected: OnConnected | None = on_connected
        self._limit = limit
        self._peer = peer
        self._has_died = has_died
        self._sock: socket.socket | None = None
        self._runner: HandshakeRunner[None] | None = None
        self._is_writing = False
        limit.start(self, self._time_out)
        try:
            self._sock = sock = socket_for(listener)
            if connect_at_once(sock, (listener.host, listener.port)):
                self._shake_hands(sock)
            else:
                loop.add_writer(sock.fileno(), self._look)
                self._is_writing = True
        except Exception as error:
            loop.call_soon(self._end, error)

    def cancel(self) -> None:
        """Give it up; safe to call again."""
        self._leave()
        self._close()

    def _look(self) -> None:
        """See what has become of the connection."""
        assert self._sock is not None  # it has a writer
        self._stop_writing(self._sock)
        try:
            raise_error_of(self._sock)
            self._shake_hands(self._sock)
        except Exception as error:
            self._end(error)

    def _shake_hands(self, sock: socket.socket) -> None:
        # Who lives on after it was connected to has held its port all the time.
        if self._has_died is not None and self._has_died():
            raise ConnectionRefusedError(errno.ECONNREFUSED, f"{self._peer} has died")
        self._runner = HandshakeRunner(
            self._loop, sock, self._steps, self._on_through, peer=self._peer
        )

    def _on_through(self, got: Exception | None) -> None:
        assert self._sock is not None  # the handshake's
        self._end(self._sock if got is None else got)

    def _time_out(self) -> None:
        self._end(TimeoutError())

    def _end(self, got: socket.socket | Exception) -> None:
        on_connected = self._leave()
        if isinstance(got, Exception):
            self._close()
        if on_connected is not None:
            on_connected(got)

    def _leave(self) -> OnConnected | None:
        """Stop; return whom to call back, unless it was called, or not to be."""
        self._limit.stop(self)
        if self._sock is not None:
            self._stop_writing(self._sock)
        if self._runner is not None:
            self._runner.stop()
            self._runner = None
        on_connected, self._on_connected = self._on_connected, None
        return on_connected

    def _stop_writing(self, sock: socket.socket) -> None:
        if self._is_writing:
            self._is_writing = False
            self._loop.remove_writer(sock.fileno())

    def _close(self) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None


class TaskDialling:
    """A coroutine that makes a connection, or something else for one."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        coroutine: Coroutine[Any, Any, Any],
        on_done: Callable[[Any], None],
    ) -> None:
        """Begin.

        Args:
            loop: the event loop.
            coroutine: returns what `on_done` gets; what it raises goes there, too.
            on_done: see `OnConnected`.
        """
        self._on_done: Callable[[Any], None] | None = on_done
        self._task = loop.create_task(coroutine)
        self._task.add_done_callback(self._end)

    def cancel(self) -> None:
        """Give it up; safe to call again."""
        self._on_done = None
        self._task.cancel()

    def _end(self, task: asyncio.Task[Any]) -> None:
        on_done, self._on_done = self._on_done, None
        if task.cancelled():
            got: Any = TimeoutError()
        else:
            got = task.exception() or task.result()
        if on_done is not None:
            on_done(got)
        elif isinstance(got, socket.socket):
            got.close()


async def connected(begin: Callable[[OnConnected], Dialling]) -> socket.socket:
    """Wait until there is a connection.

    Args:
        begin: begins to make one, and is told whom to call back.

    Raises:
        Exception: what ended the dialling.
    """
    done: asyncio.Future[socket.socket | Exception]
    done = asyncio.get_running_loop().create_future()

    def on_connected(got: socket.socket | Exception) -> None:
        if not done.done():
            done.set_result(got)
        elif isinstance(got, socket.socket):  # nobody waits any more
            got.close()

    dialling = begin(on_connected)
    try:
        got = await done
    except BaseException:
        dialling.cancel()
        if not done.cancelled():  # we are, just when it had come
            on_connected(done.result())
        raise
    if isinstance(got, Exception):
        raise got
    return got


def socket_for(address: Address) -> socket.socket:
    """Create a socket to connect to an IP address by.

    Raises:
        OSError: this machine is short of something.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        prepare(sock)
        leave_unpaced(sock, address.host)
    except BaseException:
        sock.close()
        raise
    return sock


def connect_at_once(sock: socket.socket, address: tuple[str, int]) -> bool:
    """Begin to connect; return whether that is done.

    On loopback it mostly is, although the system says that it is in progress.

    Raises:
        OSError: it cannot be connected to.
    """
    error = sock.connect_ex(address)
    if error == errno.EINPROGRESS:
        return is_established(sock)
    if error:
        raise OSError(error, os.strerror(error))
    return True


def raise_error_of(sock: socket.socket) -> None:
    """Raise the OSError by which a connection has failed, if it has."""
    error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error:
        raise OSError(error, os.strerror(error))
