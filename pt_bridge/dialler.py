"""Dial the server through a PT client, in the way that a configuration asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pt_bridge import resolver
from pt_bridge.dial import DIAL_LIMIT, dial, reach
from pt_bridge.held_dial import Ends, dial_held
from pt_bridge.protocol import socks4, socks5
from pt_bridge.protocol.address import Address

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from pt_bridge.config import Config
    from pt_bridge.held_dial import MakeWire
    from pt_bridge.protocol.launch import Launch
    from pt_bridge.protocol.socks5 import Handshake
    from pt_bridge.socks_proxy import SocksProxy

# How long the user's proxy may take to reach the server (seconds).
PROXY_LIMIT = 30.0


class Dialler:
    """Dials through one PT."""

    def __init__(
        self,
        config: Config,
        launch: Launch,
        proxy: SocksProxy | None,
        make_wire: MakeWire,
        *,
        has_died: Callable[[], bool] | None = None,
    ) -> None:
        """Make one.

        Args:
            config: what the user asks for.
            launch: what the PT offers; it is ready.
            proxy: where the PT calls for its wire side; None where it has the wire to
                itself.
            make_wire: see `dial_held`.
            has_died: see `dial`.
        """
        self._config = config
        self._launch = launch
        self._proxy = proxy
        self._make_wire = make_wire
        self._has_died = has_died

    async def dial(self, remote: Address, *, limit: float = DIAL_LIMIT) -> Ends:
        """Connect to the PT, and have it connect to the server.

        Args:
            remote: the server.
            limit: how long all of it may take, in seconds.

        Raises:
            ProtocolError, OSError: as with `dial` and `dial_held`.
        """
        listener = self._launch.address
        assert listener is not None  # the PT is ready
        if self._proxy is None:
            handshake = await self._handshake(remote)
            plain = await dial(
                listener, handshake, limit=limit, has_died=self._has_died
            )
            return Ends(plain, None)
        return await dial_held(
            listener,
            lambda name: self._held_handshake(Address(name, remote.port)),
            proxy=self._proxy,
            reach=lambda: reach_server(self._config, remote),
            make_wire=self._make_wire,
            limit=limit,
            has_died=self._has_died,
        )

    async def _handshake(self, remote: Address) -> Handshake:
        """Ask the PT for the server itself."""
        if self._launch.protocol == "socks4":
            remote = (await resolver.resolve(remote))[0]
            return socks4.connect(remote, self._config.encoded_arguments)
        return socks5.connect(remote, self._config.encoded_arguments)

    def _held_handshake(self, target: Address) -> Handshake:
        """Ask the PT for a name that is ours."""
        return socks5.connect(target, self._config.arguments_for(target))


async def reach_server(config: Config, remote: Address) -> socket.socket:
    """Connect to the server ourselves, through the user's proxy where there is one.

    Raises:
        ProtocolError, OSError: as with `dial.reach` and `upstream.connect`.
    """
    proxy = config.upstream_proxy
    if proxy is None:
        return await reach(remote)
    from pt_bridge.upstream import connect  # few have one

    return await connect(proxy, remote, limit=PROXY_LIMIT)
