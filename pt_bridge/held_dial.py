"""Dial the server through a PT that is held at both ends.

We ask the PT for a name of our own making; it asks our SOCKS proxy for the same, and we
dial the server for it. The PTs then shake hands over the wire between, and when the PT
says that it is through, both of its sides are ours.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from pt_bridge.connection import answer
from pt_bridge.dial import DIAL_LIMIT, dial
from pt_bridge.errors import (
    ConnectRefused,
    CutAtOnce,
    HungUp,
    ProtocolError,
    Unanswered,
)
from pt_bridge.log import logger
from pt_bridge.protocol.socks5_server import REPLY_FAILED, REPLY_SUCCEEDED
from pt_bridge.wire import Outcome, Wire

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Coroutine

    from pt_bridge.protocol.address import Address
    from pt_bridge.protocol.socks5 import Handshake
    from pt_bridge.socks_proxy import SocksProxy

    Reach = Callable[[], Coroutine[None, None, socket.socket]]
    MakeWire = Callable[[socket.socket, socket.socket, Callable[[Wire], None]], Wire]


class Ends(NamedTuple):
    """What is held of a PT for one tunnel.

    Attributes:
        plain: the connection to its SOCKS listener.
        wire: its wire side, or None where that is its own.
    """

    plain: socket.socket
    wire: Wire | None

    @property
    def can_be_joined(self) -> bool:
        """Whether a tunnel may still begin."""
        return self.wire is None or self.wire.can_be_joined

    def drop(self) -> None:
        """Close everything."""
        self.plain.close()
        if self.wire is not None:
            self.wire.drop()


async def dial_held(
    listener: Address,
    handshake: Callable[[str], Handshake],
    *,
    proxy: SocksProxy,
    reach: Reach,
    make_wire: MakeWire,
    limit: float = DIAL_LIMIT,
    has_died: Callable[[], bool] | None = None,
) -> Ends:
    """Connect to the PT, and let it connect to the server through us.

    Args:
        listener: the PT's SOCKS listener, an IP address.
        handshake: gives what to say to it, for the name that it is to ask for.
        proxy: where it asks.
        reach: connects to the server.
        make_wire: joins the PT with the server, for `Wire`'s arguments.
        limit: how long all of it may take, in seconds.
        has_died: as for `dial`.

    Returns:
        Both sides, which the caller owns; the wire is open and can be joined.

    Raises:
        ProtocolError: the server cannot be reached, or hung up, or the PT refused.
        OSError: the PT cannot be reached; TimeoutError is one of these.
    """
    failure: ProtocolError | OSError
    async with asyncio.TaskGroup() as group:
        call = _Call(group, reach, make_wire)
        try:
            with proxy.expect(call.answer) as name:
                plain = await dial(
                    listener, handshake(name), limit=limit, has_died=has_died
                )
            return call.end(plain)
        except (ProtocolError, OSError) as error:
            failure = error
            if isinstance(error, (ConnectRefused, TimeoutError)):
                failure = call.failure() or error
        finally:
            call.drop()
    raise failure


class _Call:
    """The PT's call for the server; it may never come."""

    def __init__(
        self, group: asyncio.TaskGroup, reach: Reach, make_wire: MakeWire
    ) -> None:
        self._group = group
        self._reach = reach
        self._make_wire = make_wire
        self._task: asyncio.Task[None] | None = None
        self._wire: Wire | None = None
        self._failure: ProtocolError | None = None

    def answer(self, leg: socket.socket) -> None:
        """Dial the server for the PT, and tell it how that went."""
        self._task = self._group.create_task(self._reach_net(leg))
        # Not in the task itself: one that is cancelled before it begins runs nothing.
        self._task.add_done_callback(lambda _: self._reached(leg))

    async def _reach_net(self, leg: socket.socket) -> None:
        try:
            net = await self._reach()
        except ProtocolError as error:
            self._failure = error
            return
        except OSError as error:  # a shortage; the user's proxy cannot be reached
            self._failure = ProtocolError(f"no connection can be made: {error}")
            return
        except Exception:
            logger.exception("a bug ended a connection")
            return
        if answer(leg, REPLY_SUCCEEDED):
            self._wire = self._make_wire(leg, net, self._wire_ended)
        else:
            net.close()

    def _reached(self, leg: socket.socket) -> None:
        if self._wire is None:
            answer(leg, REPLY_FAILED)
            leg.close()

    def _wire_ended(self, wire: Wire) -> None:
        """Nothing is to be done: the PT answers for what it makes of that."""

    def end(self, plain: socket.socket) -> Ends:
        """Give both sides away, now that the PT has said that it is through."""
        wire, self._wire = self._wire, None
        if wire is not None and wire.can_be_joined:
            return Ends(plain, wire)
        self._wire = wire
        plain.close()
        if wire is None:
            raise ConnectRefused("the PT says that it is through, and has not called")
        raise CutAtOnce(
            "the connection ended as soon as the PT was through",
            was_reset=wire.outcome is Outcome.NET_RESET,
        )

    def drop(self) -> None:
        """Want nothing of what was not given away."""
        if self._task is not None:
            self._task.cancel()
        if self._wire is not None:
            self._wire.drop()

    def failure(self) -> ProtocolError | None:
        """Give what the wire tells of a failure that the PT does not explain."""
        if self._wire is None:
            return self._failure
        received = self._wire.inward.moved
        if self._wire.outcome is Outcome.NET_RESET:
            text = "the server reset the connection during the handshake"
            return HungUp(text, was_reset=True, received=received)
        if self._wire.net_has_ended:
            text = "the server closed the connection during the handshake"
            return HungUp(text, was_reset=False, received=received)
        text = "the server took the connection, and the handshake came to nothing"
        return Unanswered(text, received=received)
