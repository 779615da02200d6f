"""The client's side: the host connects to us, we dial the PT, a tunnel joins both."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING, NoReturn

from pt_bridge import causes, resolver, state
from pt_bridge.bridge import Bridge
from pt_bridge.connection import reset
from pt_bridge.dial import dial
from pt_bridge.errors import ArgumentsRejected, ProtocolError, ProxyRefused
from pt_bridge.listener import Listener
from pt_bridge.log import logger
from pt_bridge.protocol import environment, socks4, socks5
from pt_bridge.protocol.address import Address, Alternatives

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

    from pt_bridge.child import Child
    from pt_bridge.config import Config
    from pt_bridge.errors import Died

# A user gives up before a PT does: when to say that there is no answer yet (seconds).
SLOW = 10.0


class ClientBridge(Bridge):
    """Carries the host's connections through a PT client."""

    def __init__(
        self,
        config: Config,
        variables: Mapping[bytes, bytes],
        sock: socket.socket,
    ) -> None:
        """Make a bridge; `run` builds it up and takes it down again.

        Args:
            config: what the user asks for.
            variables: our environment.
            sock: where the host connects to, listening already; the bridge owns it.
        """
        super().__init__(config, variables)
        self._listener = Listener(
            self._loop,
            sock,
            self._deliver,
            logger.warning,
            budget=self._tunnels.budget,
            patience=config.start_timeout,
        )
        self._alternatives = Alternatives(config.remotes)
        self._failures = causes.Complaints()
        self._silences = causes.Complaints()
        self._proxy_host = ""
        self._has_proxy = config.upstream_proxy is not None

    async def _serve(self) -> NoReturn:
        with self._listener, self._tunnels:
            await self._keep_carrying()

    async def _carry(self) -> Died:
        with self._folder() as folder:
            variables = environment.client(
                self._config.transport,
                state=os.fsencode(folder),
                proxy=await self._proxy_url(),
            )
            async with self._pt(variables) as child:
                await child.ready(self._config.start_timeout)
                self._report_ready(
                    child.launch, f"listening on port {self._config.local.port}"
                )
                return await self._carry_until_death(child)

    def _folder(self) -> contextlib.AbstractContextManager[str]:
        if self._config.state is None:
            return state.temporary(self._variables)
        return contextlib.nullcontext(state.persistent(self._config, self._variables))

    async def _proxy_url(self) -> str | None:
        proxy = self._config.upstream_proxy
        if proxy is None:
            return None
        try:
            found = await resolver.resolve(proxy.address)
        except OSError as error:
            if not self._proxy_host:
                raise ProxyRefused(
                    f"the name of the upstream proxy cannot be resolved: "
                    f"{error.strerror}"
                ) from None
        else:
            self._proxy_host = found[0].host
        return proxy.url(self._proxy_host)

    async def _carry_until_death(self, child: Child) -> Died:
        """Let connections through until the PT ends, and then reset them all."""
        async with asyncio.TaskGroup() as self._dials:
            try:
                self._listener.open()
                return await child.exited()
            finally:
                self._cut()

    def _cut(self) -> None:
        # Who had not yet begun waits for the next PT.
        self._listener.park()
        super()._cut()

    def _deliver(self, near: socket.socket) -> None:
        """Dial the PT for a connection that is due."""
        self._start_dialling(self._dials, self._dial_alternatives(), near)

    def _dialled(self, near: socket.socket, far: socket.socket | None) -> None:
        if far is not None and self._listener.is_open:
            self._join(near, far)
            return
        if far is not None:
            far.close()
        if self._pt_has_died() and not self._stopping:
            self._listener.park()  # we are not told of the death yet, perhaps
            self._listener.take_back(near)
        else:
            reset(near)
            self._listener.release()

    def _tunnel_ended(self) -> None:
        self._listener.release()
        super()._tunnel_ended()

    def _refuse_new(self) -> None:
        self._listener.close()

    async def _dial_alternatives(self) -> socket.socket | None:
        """Dial the server; give the connection, or None."""
        slow = self._loop.call_later(SLOW, self._complain_of_silence)
        try:
            return await self._dial_in_turn()
        except (ProtocolError, OSError) as error:
            logger.debug("! a connection failed: %r", error)
            if not self._pt_has_died():
                text = causes.explain(error, proxy=self._has_proxy)
                self._complain(self._failures, text)
        finally:
            slow.cancel()
        return None

    async def _dial_in_turn(self) -> socket.socket:
        """Dial the server's addresses in turn, the one that last worked first.

        Raises:
            ProtocolError, OSError: none can be reached; the last one's error.
        """
        failure: ProtocolError | OSError | None = None
        for remote in self._alternatives:
            try:
                sock = await self._dial(remote)
            except ArgumentsRejected:
                raise  # they are the same for all
            except (ProtocolError, OSError) as error:
                failure = error
            else:
                self._alternatives.worked(remote)
                return sock
        assert failure is not None  # there is at least one address
        raise failure

    async def _dial(self, remote: Address) -> socket.socket:
        assert self._child is not None  # the listener is open
        launch = self._child.launch
        assert launch.address is not None  # the PT is ready
        arguments = self._config.encoded_arguments
        if launch.protocol == "socks4":
            remote = (await resolver.resolve(remote))[0]
            handshake = socks4.connect(remote, arguments)
        else:
            handshake = socks5.connect(remote, arguments)
        return await dial(launch.address, handshake)

    def _complain_of_silence(self) -> None:
        text = causes.explain_silence(SLOW, proxy=self._has_proxy)
        self._complain(self._silences, text)
