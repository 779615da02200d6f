"""A server's public port, where pt-bridge binds it in front of the PT.

::

    client ── remote ── Front ── wire ── PT

The port stays open while the PT is started again, there may be several, and we know who
our clients are. What must not change is what anybody sees who probes the port: the PT's
own behaviour. So a front decides nothing. It connects to the PT as soon as it has
accepted, without waiting for a byte, and passes on what each side does
(`pt_bridge.front.connection`).

The PT names our own address towards it as its client's (USERADDR). By that the client
is known again, and so is whoever of this machine has called the PT behind our back.
"""

from __future__ import annotations

import contextlib
import os
import weakref
from typing import TYPE_CHECKING

from pt_bridge.front.accept_watch import AcceptWatch
from pt_bridge.front.connection import Context, FrontedConnection
from pt_bridge.front.hangups import Hangups
from pt_bridge.front.pt import FrontedPt
from pt_bridge.listen.listener import Listener
from pt_bridge.net.sockets import reset
from pt_bridge.relay.pump import CopyPump

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Callable, Sequence

    from pt_bridge.protocol.address import Address
    from pt_bridge.protocol.proxy_protocol import Header
    from pt_bridge.relay.pump import PumpMaker

# How long somebody whom the PT has not let in may be silent although others wait for
# room (seconds). A client's handshake goes on without such a pause.
STRANGER_PATIENCE = 5.0


class Front:
    """Accepts in the PT's place, and relays, for as long as its block lasts."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        socks: Sequence[socket.socket],
        *,
        complain: Callable[[str], None],
        budget: int,
        patience: float,
        pump: PumpMaker = CopyPump,
        clock: asyncio.AbstractEventLoop | None = None,
        accepts_early: bool = True,
        on_stranger_ended: Callable[[bool], None] | None = None,
        drop_silent: Callable[[], object] | None = None,
        reads_headers: bool = False,
    ) -> None:
        """Create a front; entering its block starts it.

        Args:
            loop: the event loop.
            socks: listening sockets, which it owns from now on.
            complain: gets a sentence for the log when connections cannot be taken.
            budget: how many connections there may be at once; each takes two
                descriptors.
            patience: how long a connection may wait for a PT, in seconds; then it is
                reset.
            pump: makes the pumps, one for each direction of a connection.
            clock: the loop by whose time limits are watched; without it, `loop`.
            accepts_early: see `Listener`.
            on_stranger_ended: told where a client has gone whom the PT did not let in,
                and whether it had said anything.
            drop_silent: called where others wait for room and there is no stranger:
                may close a connection of somebody whom the PT has let in.
            reads_headers: whether clients come through a balancer, which says who they
                are. Whoever comes without its header meets the PT all the same.
        """
        self._complain = complain
        self._on_stranger_ended = on_stranger_ended
        self._drop_silent = drop_silent
        self._listener = Listener(
            loop,
            socks,
            self._deliver,
            complain,
            budget=budget,
            patience=patience,
            first_byte_patience=0,
            on_full=self._make_room,
            clock=clock,
            accepts_early=accepts_early,
        )
        self._hangups = Hangups(loop)
        self._context = Context(
            loop=loop,
            call_later=(clock or loop).call_later,
            pump=pump,
            hangups=self._hangups,
            on_ended=self._ended,
            on_unreached=self._unreached,
            reads_headers=reads_headers,
        )
        # Of clients who wait for another PT: their headers were read.
        self._headers: weakref.WeakKeyDictionary[socket.socket, Header]
        self._headers = weakref.WeakKeyDictionary()
        self._pt: FrontedPt | None = None
        self._watch: AcceptWatch | None = None
        self._connections: set[FrontedConnection] = set()
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Front:
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._hangups)
            stack.enter_context(self._listener)
            stack.callback(self.cut)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Close the ports, and reset whatever is open or waits."""
        self.stop_accepting()
        self._stack.close()

    @property
    def number_waiting(self) -> int:
        """How many clients wait for a PT."""
        return self._listener.number_waiting

    def __len__(self) -> int:
        """How many connections there are to the PT."""
        return len(self._connections)

    def open(
        self,
        pt: Address,
        has_died: Callable[[], bool],
        *,
        names_clients: bool = False,
        on_stuck: Callable[[], None] | None = None,
    ) -> FrontedPt:
        """Connect whoever waits, and whoever comes, to this PT.

        Connections to another one go on.

        Args:
            pt: where the PT listens, an IP address of loopback.
            has_died: tells whether the PT has begun to exit: then an EOF comes from
                that, and its port may be another user's.
            names_clients: whether the PT says whose a connection is that it lets in.
            on_stuck: called, once, where the PT lives and accepts nothing any more.

        Returns:
            What tells whose the connections to this PT are.
        """
        self._stop_watching()
        self._pt = FrontedPt(pt, has_died, names_clients=names_clients)
        if on_stuck is not None:
            self._watch = AcceptWatch(self._pt, self._context.call_later, on_stuck)
        self._listener.open()
        return self._pt

    def suspend(self) -> None:
        """Keep whoever comes from now on waiting until `open` is called again."""
        self._listener.suspend()
        self._stop_watching()

    def _stop_watching(self) -> None:
        if self._watch is not None:
            self._watch.stop()
            self._watch = None

    def stop_accepting(self) -> None:
        """Close the ports, and reset who waits; what is open goes on."""
        self._listener.close()

    def cut(self) -> None:
        """Reset all connections that are open; the ports stay so."""
        for connection in list(self._connections):
            connection.cut()
        self._stop_watching()

    def _make_room(self) -> bool:
        """End who has been silent for longest, strangers first; tell whether one went.

        A crowd of them must keep no client out.
        """
        latest = self._context.loop.time() - STRANGER_PATIENCE
        strangers = [
            each
            for each in self._connections
            if each.is_stranger and each.silent_since <= latest
        ]
        number = len(self._connections)
        if strangers:
            min(strangers, key=lambda each: each.silent_since).cut()
        elif self._drop_silent is not None:
            self._drop_silent()
        return len(self._connections) < number

    def _deliver(self, remote: socket.socket) -> None:
        """Connect a client to the PT."""
        assert self._pt is not None  # or the listener would not be open
        try:
            wire = self._pt.socket()
        except OSError as error:
            self._turn_away(remote, error.errno or 0)
            return
        header = self._headers.pop(remote, None)
        connection = FrontedConnection(self._context, remote, wire, self._pt, header)
        self._connections.add(connection)
        connection.dial()
        if self._watch is not None:
            self._watch.on_connection()

    def _turn_away(self, remote: socket.socket, error: int) -> None:
        """Reset a client, as the PT's own port would, and say why."""
        why = os.strerror(error).lower()
        self._complain(f"a client was turned away, for the PT cannot be reached: {why}")
        reset(remote)
        self._listener.release()

    def _ended(self, connection: FrontedConnection) -> None:
        """Forget a connection; both its sockets are closed."""
        self._connections.discard(connection)
        self._listener.release()
        is_failure = connection.pt.names_clients and connection.is_stranger
        if is_failure and self._on_stranger_ended is not None:
            self._on_stranger_ended(connection.has_spoken)

    def _unreached(
        self, connection: FrontedConnection, remote: socket.socket, error: int
    ) -> None:
        """Keep a client for the next PT, or connect it where that is there."""
        self._connections.discard(connection)
        if connection.header is not None:
            self._headers[remote] = connection.header
        if connection.pt is not self._pt:
            self._listener.take_back(remote)
        elif connection.pt.has_died():
            self.suspend()  # nobody was told of the death yet, perhaps
            self._listener.take_back(remote)
        else:
            self._turn_away(remote, error)
