"""All tunnels of a bridge: what they share, and what is counted of them."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from pt_bridge import kernel
from pt_bridge.greeting import Greeting
from pt_bridge.held_tunnel import HeldTunnel
from pt_bridge.log import logger
from pt_bridge.sock_diag import SockDiag, TcpSocket, cannot_tell
from pt_bridge.splice import MAX_PIPES, PipePool, pump_maker
from pt_bridge.transports import COPYING
from pt_bridge.tunnel import Tunnel
from pt_bridge.wire import Wire

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Callable
    from types import TracebackType

    from pt_bridge.config import Config
    from pt_bridge.manners import Manners
    from pt_bridge.pump import Ended

# Descriptors that are not for tunnels: the PT's pipes, the log, the event loop.
RESERVED_DESCRIPTORS = 32
# Of all descriptors, one in so many pairs may be a pipe that tunnels borrow.
PIPES_SHARE = 16
DESCRIPTORS_PER_TUNNEL, DESCRIPTORS_PER_HELD_TUNNEL = 2, 4


class Tunnels:
    """Joins connections, and knows those that are open.

    Attributes:
        budget: how many tunnels the limit of open files allows.
        opened: how many there have been.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        config: Config,
        ended: Callable[[], None],
    ) -> None:
        """Make one that has no tunnel yet; it lends pipes while its block lasts.

        Args:
            loop: the event loop.
            config: how long tunnels may be silent.
            ended: called when a tunnel has ended.
        """
        self._loop = loop
        self._config = config
        self._ended = ended
        limit = kernel.raise_descriptor_limit()
        self._sock_diag = SockDiag()
        self._host_has_closed = (
            self._sock_diag.peer_has_closed
            if config.transport in COPYING
            else cannot_tell  # what the PT holds back needs its time
        )
        self._pipes = PipePool(most=min(MAX_PIPES, limit // PIPES_SHARE))
        self._pump = pump_maker(self._pipes)
        limit -= RESERVED_DESCRIPTORS + self._pipes.descriptors
        each = (
            DESCRIPTORS_PER_HELD_TUNNEL
            if config.hold == "both"
            else DESCRIPTORS_PER_TUNNEL
        )
        self.budget = max(1, limit // each)
        self.opened = 0
        self._open: set[Tunnel | HeldTunnel] = set()
        self._wires: set[Wire] = set()
        self._moved = 0
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Tunnels:
        self._stack.enter_context(self._pipes)
        self._stack.enter_context(self._sock_diag)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def __len__(self) -> int:
        return len(self._open)

    @property
    def moved(self) -> int:
        """How many bytes went through, both directions together."""
        return self._moved + sum(tunnel.moved for tunnel in self._open)

    def join(
        self,
        near: socket.socket,
        far: socket.socket,
        pt_is_ending: Callable[[], bool],
    ) -> None:
        """Let bytes flow between the host and the PT; both sockets are ours now.

        Args:
            near: the connection to the host.
            far: the connection to the PT.
            pt_is_ending: tells whether an EOF from the PT comes from its death.
        """
        tunnel = Tunnel(
            self._loop,
            near,
            far,
            linger=self._config.linger,
            idle=self._config.idle,
            pt_is_ending=pt_is_ending,
            ended=self._tunnel_ended,
            host_has_closed=self._host_has_closed,
            pump=self._pump,
        )
        self._has_opened(tunnel)

    def wire(
        self,
        leg: socket.socket,
        net: socket.socket,
        ended: Callable[[Wire], None],
        pt_is_ending: Callable[[], bool],
    ) -> Wire:
        """Join a PT's wire side with the net; both sockets are ours now.

        Args:
            leg: the connection to the PT.
            net: the connection to the other machine.
            ended: called if no tunnel began, once both are closed.
            pt_is_ending: tells whether an EOF from the PT comes from its death.
        """

        def forget(wire: Wire) -> None:
            self._wires.discard(wire)
            ended(wire)

        wire = Wire(
            self._loop,
            leg,
            net,
            forget,
            pt_is_ending=pt_is_ending,
            pump=self._pump,
            first_pump=None if self._config.server else self._greeting,
        )
        self._wires.add(wire)
        return wire

    def _greeting(
        self,
        loop: asyncio.AbstractEventLoop,
        source: socket.socket,
        sink: socket.socket,
        ended: Ended,
    ) -> Greeting:
        return Greeting(loop, source, sink, ended, sock_diag=self._sock_diag)

    def join_held(
        self, near: socket.socket, plain: socket.socket, wire: Wire, manners: Manners
    ) -> None:
        """Let bytes flow from the host through all of a PT; the sockets are ours now.

        Args:
            near: the connection to the host.
            plain: the connection to the PT on the host's side.
            wire: its other side, which can be joined.
            manners: what is known of the PT.
        """
        self._wires.discard(wire)
        tunnel = HeldTunnel(
            self._loop,
            near,
            plain,
            wire,
            linger=self._config.linger,
            idle=self._config.idle,
            manners=manners,
            ended=self._tunnel_ended,
            sock_diag=self._sock_diag,
            pump=self._pump,
        )
        self._has_opened(tunnel)

    def host_is_gone(self, near: socket.socket) -> bool:
        """Tell whether the kernel knows that the host of a connection has closed it."""
        peer = self._sock_diag.peer(near)
        has_ended = isinstance(peer, TcpSocket) and not peer.inode
        return has_ended and self._sock_diag.peer_has_closed(near) is True

    def _has_opened(self, tunnel: Tunnel | HeldTunnel) -> None:
        self._open.add(tunnel)
        self.opened += 1
        logger.debug("= a tunnel is open, of %d", len(self._open))

    def cut(self) -> None:
        """Reset them all."""
        for wire in list(self._wires):
            wire.drop()
        for tunnel in list(self._open):
            tunnel.reset()

    def pt_died(self) -> None:
        """Reset them, but for what was whole before."""
        for wire in list(self._wires):
            wire.drop()
        for tunnel in list(self._open):
            tunnel.pt_died()

    def _tunnel_ended(self, tunnel: Tunnel | HeldTunnel) -> None:
        self._open.discard(tunnel)
        self._moved += tunnel.moved
        logger.debug("x a tunnel has ended after %d bytes", tunnel.moved)
        self._ended()
