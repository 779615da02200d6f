"""A server on loopback that the PT connects to, and who else is let in there.

Other users of the machine can connect to it as well. Where the kernel tells whose a
connection is, they are shown out at once; and in any case a caller must get through a
handshake that only the PT can pass, soon, and a crowd of those who do not can keep
nobody out. The PT itself may be a crowd, where many tunnels are opened at once; it
waits in the system's backlog until there is room.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Generic, TypeVar

from pt_bridge.errors import ProtocolError
from pt_bridge.listen.acceptor import Acceptor
from pt_bridge.net.handshake import HandshakeRunner
from pt_bridge.net.loopback import leave_unpaced
from pt_bridge.net.sock_diag import SockDiag, TcpSocket
from pt_bridge.net.sockets import is_readable, reset
from pt_bridge.net.time_limit import TimeLimit
from pt_bridge.protocol.address import Address
from pt_bridge.system.log import logger

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Generator

    from pt_bridge.protocol.handshake import Ask

T = TypeVar("T")

HOST = "127.0.0.1"
BACKLOG = 1024
# PTs give up after 5 s, all of it included (EO-09).
HANDSHAKE_LIMIT = 5.0
# How many may be in their handshake at once. The PT needs a few milliseconds for its
# own, so where others wait, one that has had this long (seconds) is an idler and has to
# go. A PT with 2,000 tunnels to open on a slow machine needs more than one second.
MAX_CALLERS = 256
PATIENCE = 2.0


class LoopbackServer(Generic[T]):
    """Lets callers in for as long as its block lasts.

    Attributes:
        address: where it listens.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        handshake: Callable[[], Generator[Ask, bytes, T]],
        on_accepted: Callable[[socket.socket, T], None],
        *,
        limit: float = HANDSHAKE_LIMIT,
        most: int = MAX_CALLERS,
        patience: float = PATIENCE,
    ) -> None:
        """Listen; entering the block begins to let callers in.

        Args:
            loop: the event loop.
            handshake: makes our side of one, for each caller.
            on_accepted: gets each connection whose handshake succeeded, which it owns
                then, and what the handshake returned.
            limit: how long a handshake may take, in seconds.
            most: how many handshakes there may be at once.
            patience: how long each may take even though others wait, in seconds.
        """
        self._loop = loop
        self._handshake = handshake
        self._on_accepted = on_accepted
        self._limit = TimeLimit(loop, limit)
        self._most = most
        self._patience = patience
        self._callers: dict[_Caller[T], None] = {}
        self._sock_diag = SockDiag()
        self._user = os.geteuid()
        sock = socket.create_server((HOST, 0), backlog=BACKLOG)
        leave_unpaced(sock, HOST)
        self.address = Address(*sock.getsockname())
        self._acceptor = Acceptor(loop, [sock], self._let_in, has_room=self._has_room)

    def __enter__(self) -> LoopbackServer[T]:
        self._sock_diag.__enter__()
        self._acceptor.accept()
        return self

    def __exit__(self, *raised: object) -> None:
        """Close the port, and who is still in a handshake."""
        self._acceptor.close()
        self._limit.close()
        self._sock_diag.__exit__(*raised)
        for caller in list(self._callers):
            caller.drop()

    def _has_room(self, listening: socket.socket) -> bool:
        """Return whether one who waits may come in, or see to it that it soon may."""
        if len(self._callers) < self._most:
            return True
        if not is_readable(listening):
            return False
        oldest = next(iter(self._callers))
        wait = oldest.began + self._patience - self._loop.time()
        if wait > 0:
            self._acceptor.pause(wait)
            return False
        logger.debug("! a caller had to make room for others")
        oldest.drop()
        return True

    def _go_on(self) -> None:
        """Accept those who wait, now that somebody is done."""
        if self._acceptor.is_paused:
            self._acceptor.accept()

    def _let_in(self, sock: socket.socket) -> None:
        peer = self._sock_diag.peer(sock)
        if isinstance(peer, TcpSocket) and peer.inode and peer.user != self._user:
            logger.debug("! another user of this machine has called")
            reset(sock)
            return
        self._callers[_Caller(self, sock)] = None


class _Caller(Generic[T]):
    """Somebody who is in the handshake.

    Attributes:
        began: when, on the loop's clock.
    """

    __slots__ = ("_runner", "_server", "_sock", "began")

    def __init__(self, server: LoopbackServer[T], sock: socket.socket) -> None:
        self._server = server
        self._sock = sock
        self.began = server._loop.time()
        server._limit.start(self, self.drop)
        self._runner = HandshakeRunner(
            server._loop, sock, server._handshake(), self._on_done
        )

    def _on_done(self, got: T | Exception) -> None:
        self._leave()
        if not isinstance(got, Exception):
            self._server._on_accepted(self._sock, got)
            return
        # No reset: it may still have to read why it was refused.
        self._sock.close()
        if not isinstance(got, (ProtocolError, OSError)):
            raise got
        logger.debug("! a caller was refused: %s", got)

    def drop(self) -> None:
        """Reset it, whatever it was about to say."""
        self._leave()
        reset(self._sock)

    def _leave(self) -> None:
        self._server._limit.stop(self)
        self._runner.stop()
        del self._server._callers[self]
        self._server._go_on()
