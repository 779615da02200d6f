"""The shadowsocks server behind a server of ours, or another service in its place."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from pt_bridge.bridge.dials import one_ip
from pt_bridge.errors import SHORTAGES
from pt_bridge.explain import reasons
from pt_bridge.listen.loopback_server import HANDSHAKE_LIMIT
from pt_bridge.net.connect import connect_local
from pt_bridge.net.sockets import answer
from pt_bridge.options.ss_variables import LOCAL_HOST
from pt_bridge.protocol import proxy_protocol
from pt_bridge.protocol.address import connectable
from pt_bridge.protocol.frames import Cause

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from pt_bridge.net.resolve import Resolver
    from pt_bridge.options.config import Config
    from pt_bridge.protocol.address import Address

# shadowsocks's server starts its plugin before it listens: how long to wait for it
# (seconds; EO-09).
PATIENCE = 3.0


class ShadowsocksBehind:
    """Where clients' streams go, unless a tor is there (`pt_bridge.tor.behind`).

    Attributes:
        address: where it listens, once it was found.
        NOT_TAKEN: how it is counted that it took no connection.
    """

    NOT_TAKEN = "shadowsocks did not take it"
    address: Address

    def __init__(
        self,
        config: Config,
        resolver: Resolver,
        *,
        complain: Callable[[str], None],
        make_room: Callable[[], bool],
    ) -> None:
        """Create one; its name is not looked up yet.

        Args:
            config: what the user asks for.
            resolver: looks its name up.
            complain: gets a sentence for the log where it takes no connection.
            make_room: called where descriptors are short; returns whether it has
                closed something.
        """
        self._config = config
        self._resolver = resolver
        self._complain = complain
        self._make_room = make_room

    async def find(self) -> None:
        """Look its name up.

        Raises:
            UsageError, ResolverFailed: as with `one_ip`.
        """
        local = connectable(self._config.local)
        self.address = await one_ip(self._resolver, self._config, LOCAL_HOST, local)

    async def connect(self, client: Address | None) -> socket.socket | Cause:
        """Connect to it for a client; return the connection, or why there is none."""
        try:
            local = await connect_local(
                self.address, patience=PATIENCE, limit=HANDSHAKE_LIMIT
            )
        except OSError as error:
            is_short = error.errno in SHORTAGES
            if is_short and self._make_room():
                return await self.connect(client)
            self._complain(reasons.explain_shadowsocks(error))
            if error.errno == errno.ECONNREFUSED:
                return Cause.REFUSED
            return Cause.BUSY if is_short else Cause.UNREACHABLE
        if self._config.send_proxy_v2:
            here = self._config.remotes[0]
            answer(local, proxy_protocol.serialize(client, here))
        return local
