"""All tunnels of a bridge: what they share, and what is counted of them."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from pt_bridge import kernel
from pt_bridge.log import logger
from pt_bridge.sock_diag import SockDiag, cannot_tell
from pt_bridge.splice import MAX_PIPES, PipePool, pump_maker
from pt_bridge.transports import COPYING
from pt_bridge.tunnel import Tunnel

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Callable
    from types import TracebackType

    from pt_bridge.config import Config

# Descriptors that are not for tunnels: the PT's pipes, the log, the event loop.
RESERVED_DESCRIPTORS = 32
# Of all descriptors, one in so many pairs may be a pipe that tunnels borrow.
PIPES_SHARE = 16
DESCRIPTORS_PER_TUNNEL = 2


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
        limit -= RESERVED_DESCRIPTORS + self._pipes.descriptors
        self.budget = max(1, limit // DESCRIPTORS_PER_TUNNEL)
        self.opened = 0
        self._open: set[Tunnel] = set()
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
            pump=pump_maker(self._pipes),
        )
        self._open.add(tunnel)
        self.opened += 1
        logger.debug("= a tunnel is open, of %d", len(self._open))

    def cut(self) -> None:
        """Reset them all."""
        for tunnel in list(self._open):
            tunnel.reset()

    def pt_died(self) -> None:
        """Reset them, but for those that the PT had ended before: these are whole."""
        for tunnel in list(self._open):
            if not tunnel.is_answered:
                tunnel.reset()

    def _tunnel_ended(self, tunnel: Tunnel) -> None:
        self._open.discard(tunnel)
        self._moved += tunnel.moved
        logger.debug("x a tunnel has ended after %d bytes", tunnel.moved)
        self._ended()
