"""A PT client: its state folder, environment and process, and the way through it."""

from __future__ import annotations

import asyncio
import os
from functools import partial
from typing import TYPE_CHECKING

from pt_bridge.errors import ConnectRefused, ProxyRefused, ResolverFailed, UsageError
from pt_bridge.files import state_dir, temporary_dir
from pt_bridge.net.connect import DIAL_LIMIT, connect_and_handshake
from pt_bridge.net.dialling import HandshakeDialling, TaskDialling, connected
from pt_bridge.net.resolve import Resolver, is_temporary
from pt_bridge.net.time_limit import TimeLimit
from pt_bridge.options.transports import DIALLING
from pt_bridge.protocol import pt_environment, socks_client
from pt_bridge.pt.running_pt import RunningPt

if TYPE_CHECKING:
    import contextlib
    import socket
    from collections.abc import Sequence

    from pt_bridge.net.dialling import Dialling, OnConnected
    from pt_bridge.options.upstream_proxy import Proxy
    from pt_bridge.protocol.address import Address
    from pt_bridge.pt.running_pt import PtSetup


class ProxyUrl:
    """The upstream proxy's URL as PTs want it, with an IP address.

    The name is looked up for each PT; where that fails, the last address stands.
    """

    def __init__(
        self, proxy: Proxy | None, resolver: Resolver, *, patience: float = 0
    ) -> None:
        """Create one that knows no address yet.

        Args:
            proxy: the user's proxy, or None.
            resolver: looks its name up.
            patience: how long to ask for the first time, in seconds.
        """
        self._proxy = proxy
        self._resolver = resolver
        self._patience = patience
        self._host = ""

    async def look_up(self) -> str | None:
        """Return the URL, or None without a proxy.

        Raises:
            ProxyRefused: its name cannot be resolved, and never was; the OSError is the
                cause.
            ResolverFailed: likewise, but it may be later.
        """
        if self._proxy is None:
            return None
        patience = 0 if self._host else self._patience
        try:
            found = await self._resolver.resolve(self._proxy.address, patience=patience)
        except OSError as error:
            if not self._host:
                kind = ResolverFailed if is_temporary(error) else ProxyRefused
                raise kind(
                    f"the name of the upstream proxy cannot be resolved: "
                    f"{error.strerror}"
                ) from error
        else:
            self._host = found[0].host
        return self._proxy.url(self._host)


class PtClient(RunningPt):
    """A PT client that runs, and through which servers are reached."""

    def __init__(
        self,
        setup: PtSetup,
        proxy_url: ProxyUrl,
        *,
        transports: Sequence[str] = (),
        folder: str | None = None,
        resolver: Resolver | None = None,
    ) -> None:
        """Prepare one.

        Args:
            setup: what it is started with.
            proxy_url: the upstream proxy's.
            transports: what it is asked for; the first way's, where not said.
            folder: its state folder, instead of the one that the user asks for.
            resolver: looks names up for PTs that take addresses only.
        """
        super().__init__(setup)
        self._proxy_url = proxy_url
        self._transports = list(transports) or [setup.config.transport]
        self._folder = folder
        self._resolver = resolver or Resolver()

    async def _start(self, stack: contextlib.AsyncExitStack) -> None:
        self._loop = asyncio.get_running_loop()
        if self._setup.find_outer is not None:
            program = self._setup.find_outer()
            (remote,) = self._config.remotes
            await self._see_that_it_has_an_address(remote)
            await self._run_outer(stack, program, remote=remote)
        folder = self._folder
        if folder is None and self._config.state is not None:
            folder = state_dir.persistent(self._config, self._variables)
        if folder is None:
            folder = stack.enter_context(temporary_dir.temporary(self._variables))
        variables = pt_environment.client(
            self._transports,
            state=os.fsencode(folder),
            proxy=await self._proxy_url.look_up(),
        )
        await self._run(stack, variables, transports=self._transports)

    async def _see_that_it_has_an_address(self, remote: Address) -> None:
        """Wait for a DNS that is late: the plugin looks the name up, perhaps once.

        Raises:
            ResolverFailed: it is not there yet; or UsageError: the name has no address.
        """
        try:
            await self._resolver.resolve(remote, patience=self._setup.limit)
        except OSError as error:
            text = f"the server's name cannot be resolved: {error.strerror}"
            if is_temporary(error):
                raise ResolverFailed(f"{text}; it may be later") from None
            raise UsageError(f"{text}; give an IP address") from None

    async def dial(
        self,
        remote: Address,
        *,
        limit: float = DIAL_LIMIT,
        arguments: bytes | None = None,
    ) -> socket.socket:
        """Connect to the PT, and have it connect to the server.

        Args:
            remote: the server; with another plugin outside the PT, that plugin's own.
            limit: how long all of it may take, in seconds.
            arguments: the transport's, encoded, instead of those of the first way.

        Raises:
            ProtocolError, OSError: as with `connect_and_handshake`.
        """
        time_limit = TimeLimit(self._loop, limit)
        begin = partial(self.begin_dial, remote, limit=time_limit, arguments=arguments)
        try:
            return await connected(begin)
        finally:
            time_limit.close()

    def begin_dial(
        self,
        remote: Address,
        on_connected: OnConnected,
        *,
        limit: TimeLimit,
        transport: str = "",
        arguments: bytes | None = None,
    ) -> Dialling:
        """Begin to do the same.

        Args:
            remote: as with `dial`.
            on_connected: see `HandshakeDialling`.
            limit: how long all of it may take.
            transport: one that the PT offers; the first, where not said.
            arguments: as with `dial`.
        """
        transport = transport or self._transports[0]
        method = self.launch.methods[transport]
        loop = self._loop
        if arguments is None:
            arguments = self._config.ways[0].encoded_arguments
        if self.outer is not None:
            remote = self.outer.listener
        elif transport in DIALLING:
            on_connected = partial(_add_seconds, loop, loop.time(), on_connected)
        if method.protocol == "socks4":
            dialling = self._dial_socks4(method.address, remote, arguments, limit)
            return TaskDialling(loop, dialling, on_connected)
        return HandshakeDialling(
            loop,
            method.address,
            socks_client.connect(remote, arguments),
            on_connected,
            limit=limit,
            has_died=self.is_ending,
        )

    async def _dial_socks4(
        self, listener: Address, remote: Address, arguments: bytes, limit: TimeLimit
    ) -> socket.socket:
        remote = (await self._resolver.resolve(remote))[0]
        return await connect_and_handshake(
            listener,
            socks_client.connect_socks4(remote, arguments),
            limit=limit.seconds,
            has_died=self.is_ending,
        )


def _add_seconds(
    loop: asyncio.AbstractEventLoop,
    began: float,
    on_connected: OnConnected,
    got: socket.socket | Exception,
) -> None:
    """Add how long a refusal took, which tells something where the PT dials."""
    if isinstance(got, ConnectRefused):
        got.seconds = loop.time() - began
    on_connected(got)
