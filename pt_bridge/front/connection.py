"""A connection that a front relays: from a client to the PT, and how that ends.

=======================================  ===========================================
one side half-closes, or ends            the other one gets the EOF, behind the bytes
one side resets                          the other one is reset
somebody writes to a PT that has closed  its kernel answers with a reset: the client
                                         gets that, too
the PT's kernel has forgotten a          so do we, without a packet
connection that the PT has closed
the PT dies                              a reset: an answer that was cut must not
                                         look complete; who has said and heard
                                         nothing yet waits for the next PT
=======================================  ===========================================
"""

from __future__ import annotations

import contextlib
import errno
import socket
from typing import TYPE_CHECKING, NamedTuple

from pt_bridge.listen.proxy_header import HeaderReader
from pt_bridge.net.loopback import leave_unpaced
from pt_bridge.net.sock_diag import OPEN, Missing
from pt_bridge.net.sockets import half_close, reset, unsent
from pt_bridge.protocol.address import Address
from pt_bridge.relay.pump import CopyPump, End

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from pt_bridge.front.hangups import Hangups
    from pt_bridge.front.pt import FrontedPt
    from pt_bridge.listen.acceptor import CallLater, Timer
    from pt_bridge.net.sock_diag import SockDiag
    from pt_bridge.protocol.proxy_protocol import Header
    from pt_bridge.relay.pump import PumpMaker

# How long the PT may take to accept a connection (seconds). Its kernel does that for
# it; only a PT that has accepted nothing for long has no room left.
DIAL_LIMIT = 20.0
# How long a connection that one side has left may be silent (seconds): as long as the
# kernel remembers one whose program has closed it (TCP_FIN_TIMEOUT).
LEFT_LIMIT = 60.0


class Context(NamedTuple):
    """What all connections of a front share.

    Attributes:
        loop: the event loop.
        call_later: the clock.
        pump: makes the pumps, one for each direction.
        hangups: tells of resets behind an EOF.
        on_ended: called once with a connection, when both its sockets are closed.
        on_unreached: called instead, with a connection, its client's socket, which goes
            with it, and an errno or 0, where the client has neither said nor heard
            anything, for the PT was not reached, or has died.
        reads_headers: whether clients come through a balancer, which says who they are.
    """

    loop: asyncio.AbstractEventLoop
    call_later: CallLater
    pump: PumpMaker
    hangups: Hangups
    on_ended: Callable[[FrontedConnection], None]
    on_unreached: Callable[[FrontedConnection, socket.socket, int], None]
    reads_headers: bool = False


class FrontedConnection:
    """A client's connection, and ours to the PT; it owns both sockets.

    Attributes:
        pt: the PT.
        began: when, on the loop's clock.
        is_let_in: whether the PT has brought it, and so let it in.
        header: what the balancer has said of it, which stands before the PT's bytes;
            None where that is not read yet, or there is none.
    """

    __slots__ = (
        "_client_has_ended",
        "_context",
        "_header_reader",
        "_inbound",
        "_inbound_is_over",
        "_moved",
        "_outbound",
        "_outbound_is_over",
        "_port",
        "_remote",
        "_timer",
        "_was_read",
        "_was_reset",
        "_wire",
        "began",
        "header",
        "is_let_in",
        "pt",
    )

    def __init__(
        self,
        context: Context,
        remote: socket.socket,
        wire: socket.socket,
        pt: FrontedPt,
        header: Header | None = None,
    ) -> None:
        """Create one that does nothing before `dial`.

        Args:
            context: what all connections share.
            remote: the client's connection, non-blocking.
            wire: a socket that is not connected yet.
            pt: the PT to connect to.
            header: what a balancer has said of it already.
        """
        self._context = context
        self._remote = remote
        self._wire = wire
        self.pt = pt
        self.is_let_in = False
        self.began = context.loop.time()
        self.header = header
        self._header_reader: HeaderReader | None = None
        self._was_read = False  # by who looked for a header, and passed on as it was
        self._port = 0
        self._inbound: CopyPump | None = None
        self._outbound: CopyPump | None = None
        self._inbound_is_over = False
        self._outbound_is_over = False
        self._client_has_ended = False
        # A reset that a write has met: the kernel tells of it only once, and lets the
        # other pump read what came before, and then an EOF.
        self._was_reset = False
        self._moved = 0
        self._timer: Timer | None = None

    @property
    def here(self) -> Address:
        """Our own end of the connection to the PT."""
        return Address(*self._wire.getsockname()[:2])

    @property
    def client(self) -> Address | None:
        """The client's address; None where it is gone, or does not tell."""
        if self._context.reads_headers:
            if self.header is None:
                return None
            if self.header.source is not None:
                return self.header.source
        try:
            return Address(*self._remote.getpeername()[:2])
        except OSError:
            return None

    @property
    def silent_since(self) -> float:
        """When bytes last came from the client, on the loop's clock."""
        inbound = self._inbound
        return self.began if inbound is None or not inbound.moved else inbound.last

    @property
    def is_stranger(self) -> bool:
        """Whether the client may be anybody: it has said nothing, or nothing right."""
        return not self.is_let_in and (self.pt.names_clients or not self.has_spoken)

    @property
    def has_spoken(self) -> bool:
        """Whether anything has come from the client."""
        has_moved = self._inbound is not None and self._inbound.moved > 0
        return has_moved or self._was_read

    def is_accepted(self, kernel: SockDiag) -> bool:
        """Whether the PT has accepted it, it is over, or the kernel does not tell."""
        peer = kernel.peer(self._wire)
        return isinstance(peer, Missing) or bool(peer.inode) or peer.state not in OPEN

    def dial(self) -> None:
        """Connect to the PT."""
        # No keepalive: the kernel knows how the other end of loopback fares.
        self._wire.setblocking(False)
        self._wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        leave_unpaced(self._wire, self.pt.address.host)
        error = self._wire.connect_ex((self.pt.address.host, self.pt.address.port))
        if error == errno.EINPROGRESS:
            self._context.loop.add_writer(self._wire.fileno(), self._dialled)
            self._timer = self._context.call_later(DIAL_LIMIT, self._not_answered)
        else:
            self._connected(error)

    def _dialled(self) -> None:
        self._stop_dialling()
        self._connected(self._wire.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))

    def _not_answered(self) -> None:
        self._stop_dialling()
        self._connected(errno.ETIMEDOUT)

    def _stop_dialling(self) -> None:
        self._cancel_timer()
        self._context.loop.remove_writer(self._wire.fileno())

    def _connected(self, error: int) -> None:
        """Begin to relay, if that was the PT."""
        # One that lives on after the connect has held its port all the time.
        if error or self.pt.has_died():
            self._wire.close()
            self._context.on_unreached(self, self._remote, error)
            return
        self._port = self.here.port
        self.pt.connections[self._port] = self
        make, loop = self._context.pump, self._context.loop
        self._outbound = make(loop, self._wire, self._remote, self._outbound_ended)
        self._inbound = make(loop, self._remote, self._wire, self._inbound_ended)
        self._outbound.start()
        if self._context.reads_headers and self.header is None:
            self._header_reader = HeaderReader(
                loop, self._remote, self._header_was_read, self._context.call_later
            )
        else:
            self._inbound.start()

    def _header_was_read(self, header: Header | None, first: bytes) -> None:
        """Begin to pass on what the client says, the first of it perhaps read here."""
        assert self._inbound is not None  # it is read between the two
        self._header_reader, self.header = None, header
        if first:
            self._was_read = True
            with contextlib.suppress(OSError):  # the pump meets it, too
                self._wire.send(first)  # a few hundred bytes, which a new one takes
        self._inbound.start()

    def cut(self) -> None:
        """Reset both."""
        if self._inbound is None:
            self._stop_dialling()
        self._end(self._remote, self._wire)

    def drop(self) -> None:
        """Reset both, if they are still joined; safe to call at any time."""
        if self.pt.connections.get(self._port) is self:
            self.cut()

    def _outbound_ended(self, how: End) -> None:
        """Pass on that nothing more goes from the PT to the client."""
        self._outbound_is_over = True
        match how:
            case End.EOF | End.SOURCE_RESET if self.pt.has_died():
                self._pt_died()
            case End.EOF if self._was_reset:
                self._end(self._remote)
            case End.EOF if self._client_has_ended:
                self._end()
            case End.EOF:
                self._pt_has_left()
            case End.SOURCE_RESET:
                self._end(self._remote)
            case _ if self._inbound_is_over:
                self._end(self._wire)
            case _:
                # What the client sent before it left is still to be read.
                self._was_reset = how is End.SINK_RESET
                self._wait_for_silence()

    def _inbound_ended(self, how: End) -> None:
        """Pass on that nothing more goes from the client to the PT."""
        self._inbound_is_over = True
        match how:
            case End.EOF if self._was_reset:
                self._end(self._wire)
            case End.EOF if self._outbound_is_over:
                self._end()
            case End.EOF:
                # The PT may go on for as long as it likes.
                self._client_has_ended = True
                half_close(self._wire)
                self._context.hangups.watch(self._remote, self._remote_hung_up)
            case End.SOURCE_RESET:
                self._end(self._wire)
            case _ if self._outbound_is_over:
                self._end(self._remote)
            case _:
                # What the PT sent before is still to be read, and its end.
                self._was_reset = how is End.SINK_RESET
                self._wait_for_silence()

    def _pt_has_left(self) -> None:
        """Return the client the PT's EOF, and become what a closed socket is.

        A PT may still read; then it reads. But mostly it has closed, and its kernel
        goes on without it: it answers more bytes with a reset, sends no keepalive, and
        forgets all after a while.
        """
        half_close(self._remote)
        with contextlib.suppress(OSError):  # gone already
            self._remote.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 0)
        self._context.hangups.watch(self._wire, self._wire_hung_up)
        self._wait_for_silence()

    def _wire_hung_up(self) -> None:
        self._end(self._remote)

    def _remote_hung_up(self) -> None:
        self._end(self._wire)

    def _pt_died(self) -> None:
        """Keep a client for the next PT if it has sent and received nothing."""
        assert self._inbound is not None  # else nothing could have ended
        assert self._outbound is not None
        moved = self.has_spoken or self._outbound.moved or self._header_reader
        if moved or self._inbound.is_blocked or self._inbound_is_over:
            self._end(self._remote)
        else:
            self._inbound.stop()
            self._forget()
            self._wire.close()
            self._context.on_unreached(self, self._remote, 0)

    def _wait_for_silence(self) -> None:
        """End a connection that one side has left, once nothing moves any more."""
        self._cancel_timer()
        self._moved = self._progress()
        self._timer = self._context.call_later(LEFT_LIMIT, self._look_for_silence)

    def _look_for_silence(self) -> None:
        if self._progress() != self._moved:
            self._wait_for_silence()
        elif self._inbound_is_over:  # the client does not take what the PT has left
            self._end(self._remote)
        else:
            self._end(self._wire)

    def _progress(self) -> int:
        """Return how many bytes both sides have taken."""
        assert self._inbound is not None  # else nothing could have ended
        assert self._outbound is not None
        moved = self._inbound.moved + self._outbound.moved
        return moved - unsent(self._remote) - unsent(self._wire)

    def _end(self, *cut: socket.socket) -> None:
        """Close both; those that are cut, with a reset."""
        self._cancel_timer()
        self._forget()
        if self._header_reader is not None:
            self._header_reader.stop()
            self._header_reader = None
        for pump in (self._inbound, self._outbound):
            if pump is not None:
                pump.stop()
        for sock in (self._remote, self._wire):
            self._context.hangups.forget(sock)
            if sock in cut:
                reset(sock)
            else:
                sock.close()
        self._context.on_ended(self)

    def _forget(self) -> None:
        # Where the PT has reset ours, the kernel may have given another one its port.
        if self.pt.connections.get(self._port) is self:
            del self.pt.connections[self._port]

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
