"""All tunnels of a bridge: what they share, and what is counted of them."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from pt_bridge.net.sock_diag import SockDiag, TcpSocket, cannot_tell
from pt_bridge.net.sockets import is_dead
from pt_bridge.options.transports import COPYING
from pt_bridge.relay.pipes import MAX_PIPES, PipePool
from pt_bridge.relay.plain_tunnel import Tunnel
from pt_bridge.relay.splice import pump_maker
from pt_bridge.system import linux
from pt_bridge.system.log import logger

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Callable

    from pt_bridge.options.config import Config

# Descriptors that are not for tunnels: the PT's pipes, the log, the event loop.
RESERVED_DESCRIPTORS = 32
# Of all descriptors, one in so many pairs may be a pipe that tunnels borrow.
PIPES_SHARE = 16
DESCRIPTORS_PER_TUNNEL, DESCRIPTORS_WITH_A_FRONT = 2, 4


class Tunnels:
    """Joins connections, and knows those that are open.

    Attributes:
        budget: how many tunnels the limit of open files allows.
        opened: how many there have been.
        cuts: how many of them were reset for the PT's death.
        pipes: what all lend pipes from.
        pump: makes the pumps that all use.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        config: Config,
        on_ended: Callable[[], None],
    ) -> None:
        """Create one that has no tunnel yet; it lends pipes while its block lasts.

        Args:
            loop: the event loop.
            config: how long tunnels may be silent.
            on_ended: called when a tunnel has ended.
        """
        self._loop = loop
        self._config = config
        self._on_ended = on_ended
        limit = linux.raise_descriptor_limit()
        self._sock_diag = SockDiag()
        self._local_has_closed = (
            self._sock_diag.peer_has_closed
            if COPYING.issuperset(config.transports)
            else cannot_tell  # what the PT holds back needs its time
        )
        self.pipes = PipePool(most=min(MAX_PIPES, limit // PIPES_SHARE))
        self.pump = pump_maker(self.pipes)
        limit -= RESERVED_DESCRIPTORS + self.pipes.descriptors
        each = DESCRIPTORS_WITH_A_FRONT if config.front else DESCRIPTORS_PER_TUNNEL
        self.budget = max(1, limit // each)
        self.opened = self.cuts = 0
        self._open: set[Tunnel] = set()
        self._inbound = self._outbound = 0
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Tunnels:
        self._stack.enter_context(self.pipes)
        self._stack.enter_context(self._sock_diag)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def __len__(self) -> int:
        return len(self._open)

    @property
    def moved(self) -> int:
        """How many bytes went through, both directions together."""
        return self.inbound + self.outbound

    @property
    def inbound(self) -> int:
        """How many bytes went from the PT to shadowsocks."""
        return self._inbound + sum(tunnel.inbound for tunnel in self._open)

    @property
    def outbound(self) -> int:
        """How many bytes went from shadowsocks to the PT."""
        return self._outbound + sum(tunnel.outbound for tunnel in self._open)

    def join(
        self,
        local: socket.socket,
        plain: socket.socket,
        pt_is_ending: Callable[[], bool],
        *,
        first_outbound: bytes = b"",
        first_inbound: bytes = b"",
        on_answer: Callable[[], None] | None = None,
        on_unanswered: Callable[[], None] | None = None,
        on_closed: Callable[[], None] | None = None,
        is_new: bool = True,
    ) -> None:
        """Relay bytes between shadowsocks and the PT; both sockets are ours now.

        Args:
            local: the connection to shadowsocks.
            plain: the connection to the PT.
            pt_is_ending: tells whether an EOF from the PT comes from its death.
            first_outbound: bytes of shadowsocks's that were read already.
            first_inbound: bytes of the PT's that were read already.
            on_answer: called once when the PT's first byte has come.
            on_unanswered: called if the tunnel ends without one.
            on_closed: called when the tunnel has ended.
            is_new: whether nobody has counted it as opened before.
        """
        on_ended: Callable[[Tunnel], None] = self._tunnel_ended
        if on_answer or on_unanswered or on_closed:
            ends = _Ends(self._tunnel_ended, on_answer, on_unanswered, on_closed)
            on_ended = ends.on_ended
            on_answer = None if on_answer is None else ends.on_answer
        tunnel = Tunnel(
            self._loop,
            local,
            plain,
            linger=self._config.linger,
            idle=self._config.idle,
            pt_is_ending=pt_is_ending,
            on_ended=on_ended,
            local_has_closed=self._local_has_closed,
            pump=self.pump,
            first_outbound=first_outbound,
            first_inbound=first_inbound,
            on_answer=on_answer,
        )
        self._open.add(tunnel)
        self.opened += is_new
        logger.debug("= a tunnel is open, of %d", len(self._open))

    def local_is_gone(self, local: socket.socket) -> bool:
        """Whether the kernel knows that shadowsocks has gone, by a close or a reset."""
        if is_dead(local):  # the kernel has forgotten its peer
            return True
        peer = self._sock_diag.peer(local)
        has_ended = isinstance(peer, TcpSocket) and not peer.inode
        return has_ended and self.local_has_closed(local) is True

    def local_has_closed(self, local: socket.socket) -> bool | None:
        """Whether shadowsocks, whose EOF was read, has gone (`SockDiag`)."""
        return self._sock_diag.peer_has_closed(local)

    def cut(self) -> None:
        """Reset them all."""
        for tunnel in list(self._open):
            tunnel.reset()

    def pt_died(self, pt_is_ending: Callable[[], bool] | None = None) -> None:
        """Reset them, but for what was whole before.

        Args:
            pt_is_ending: what those of one PT were joined with, where there are others.
        """
        for tunnel in list(self._open):
            if pt_is_ending is None or tunnel.pt_is_ending == pt_is_ending:
                self.cuts += tunnel.pt_died()

    def _tunnel_ended(self, tunnel: Tunnel) -> None:
        self._open.discard(tunnel)
        self._inbound += tunnel.inbound
        self._outbound += tunnel.outbound
        logger.debug("x a tunnel has ended after %d bytes", tunnel.moved)
        self._on_ended()


class _Ends:
    """Who wants to know of a tunnel's answer and end, where somebody does."""

    __slots__ = ("_on_answer", "_on_closed", "_on_ended", "_on_unanswered")

    def __init__(
        self,
        on_ended: Callable[[Tunnel], None],
        on_answer: Callable[[], None] | None,
        on_unanswered: Callable[[], None] | None,
        on_closed: Callable[[], None] | None,
    ) -> None:
        self._on_ended = on_ended
        self._on_answer = on_answer
        self._on_unanswered = on_unanswered
        self._on_closed = on_closed

    def on_answer(self) -> None:
        """Learn that the PT's first byte has come."""
        self._on_unanswered = None
        if self._on_answer is not None:
            self._on_answer()

    def on_ended(self, tunnel: Tunnel) -> None:
        """Learn that a tunnel has ended."""
        self._on_ended(tunnel)
        if self._on_closed is not None:
            self._on_closed()
        if self._on_unanswered is not None:
            self._on_unanswered()
