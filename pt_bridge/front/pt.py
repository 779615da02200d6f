"""A PT behind a front: its address, and whose the connections to it are."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from pt_bridge.front.connection import FrontedConnection
    from pt_bridge.protocol.address import Address


class FrontedPt:
    """A PT behind a front, and the connections that it has from there.

    Each PT has its own: the kernel may give two connections to different PTs the same
    port of ours.

    Attributes:
        address: where it listens.
        has_died: tells whether it has begun to exit.
        names_clients: whether it says whose a connection is that it lets in.
        connections: ours to it, by our own port.
    """

    def __init__(
        self,
        address: Address,
        has_died: Callable[[], bool],
        *,
        names_clients: bool = False,
    ) -> None:
        """Create one that has no connection yet.

        Args:
            address: where it listens, an IP address of loopback.
            has_died: tells whether it has begun to exit.
            names_clients: whether it says whose a connection is that it lets in.
        """
        self.address = address
        self.names_clients = names_clients
        self.has_died = has_died
        self.connections: dict[int, FrontedConnection] = {}

    def client_of(self, address: Address) -> Address | None:
        """Return who the client of a connection to the PT is.

        Args:
            address: the connection's other end, as the PT names it (USERADDR).

        Returns:
            The client's address; None where the connection is not ours, but somebody's
            who has called the PT behind our back, or came without the header that a
            balancer sends, or where the client is gone.
        """
        connection = self._connection(address)
        return None if connection is None else connection.client

    def let_in(self, address: Address) -> FrontedConnection | None:
        """Note that the PT has brought a connection; see `client_of`.

        Returns:
            It; None where it is not ours.
        """
        connection = self._connection(address)
        if connection is not None:
            connection.is_let_in = True
        return connection

    def _connection(self, address: Address) -> FrontedConnection | None:
        connection = self.connections.get(address.port)
        return connection if connection and connection.here == address else None

    def socket(self) -> socket.socket:
        """Create a socket that can be connected to it."""
        is_ipv6 = ":" in self.address.host
        return socket.socket(socket.AF_INET6 if is_ipv6 else socket.AF_INET)
