"""The client's side: the host connects to us, we dial the PT, a tunnel joins both."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
from typing import TYPE_CHECKING, Any, NoReturn

from pt_bridge import causes, kernel, resolver, state
from pt_bridge.bridge import ListeningBridge
from pt_bridge.dialler import Dialler
from pt_bridge.errors import (
    ArgumentsRejected,
    LoginRefused,
    ProtocolError,
    ProxyRefused,
)
from pt_bridge.log import logger
from pt_bridge.own_options import BOTH, PLAIN
from pt_bridge.port import explain
from pt_bridge.protocol import environment
from pt_bridge.protocol.address import Alternatives
from pt_bridge.socks_proxy import SocksProxy

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping, Sequence

    from pt_bridge.child import Child
    from pt_bridge.config import Config
    from pt_bridge.errors import Died
    from pt_bridge.held_dial import Ends
    from pt_bridge.protocol.address import Address
    from pt_bridge.scrubber import Scrubber

# A user gives up before a PT does: when to say that there is no answer yet (seconds).
SLOW = 10.0


class ClientBridge(ListeningBridge):
    """Carries the host's connections through a PT client."""

    def __init__(
        self,
        config: Config,
        variables: Mapping[bytes, bytes],
        scrubber: Scrubber,
        socks: Sequence[socket.socket],
    ) -> None:
        """Make a bridge; `run` builds it up and takes it down again.

        Args:
            config: what the user asks for.
            variables: our environment.
            scrubber: learns the secrets that are made for the PT.
            socks: where the host connects to, listening already; the bridge owns them.
        """
        super().__init__(config, variables)
        self._scrubber = scrubber
        self._listen(socks)
        self._alternatives = Alternatives(config.servers)
        self._failures = causes.Complaints()
        self._silences = causes.Complaints()
        self._proxy_host = ""
        self._has_proxy = config.upstream_proxy is not None
        self._proxy: SocksProxy | None = None

    async def _serve(self) -> NoReturn:
        with self._listener, self._tunnels:
            await self._keep_carrying()

    async def _carry(self) -> Died:
        try:
            return await self._carry_through_one()
        except ProxyRefused as error:
            if self._hold != BOTH or self._has_proxy:
                raise
            logger.warning("%s", causes.explain_plain(error))
            self._hold = PLAIN
        return await self._carry_through_one()

    async def _carry_through_one(self) -> Died:
        async with contextlib.AsyncExitStack() as stack:
            folder = stack.enter_context(self._folder())
            self._proxy = self._own_proxy(stack)
            variables = environment.client(
                self._config.transport,
                state=os.fsencode(folder),
                proxy=await self._proxy_url(),
            )
            child = await stack.enter_async_context(self._pt(variables))
            await child.ready(self._config.start_timeout)
            if self._proxy is not None and child.launch.protocol == "socks4":
                raise ProxyRefused(
                    f"{child.launch.program} speaks SOCKS4, which has no names to tell "
                    f"one tunnel's connection from another's"
                )
            self._report_ready(
                child.launch, f"listening on port {self._config.local.port}"
            )
            return await self._carry_until_death(child)

    def _folder(self) -> contextlib.AbstractContextManager[str]:
        if self._config.state is None:
            return state.temporary(self._variables)
        return contextlib.nullcontext(state.persistent(self._config, self._variables))

    def _own_proxy(self, stack: contextlib.AsyncExitStack) -> SocksProxy | None:
        """Be the proxy that the PT calls, where its wire side is held."""
        if self._hold != BOTH:
            return None
        try:
            proxy = SocksProxy(self._loop)
        except OSError as error:
            raise explain(error.errno or 0, 0) from None
        self._scrubber.add(secrets=proxy.credentials)
        return stack.enter_context(proxy)

    async def _proxy_url(self) -> str | None:
        if self._proxy is not None:
            return self._proxy.url
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

    def _deliver(self, near: socket.socket) -> None:
        """Dial the PT for a connection that is due."""
        self._start_dialling(
            self._dials,
            self._dial_alternatives(near),
            lambda ends: self._dialled(near, ends),
        )

    def _dialled(self, near: socket.socket, ends: Ends | None) -> None:
        if ends is not None and self._listener.is_open and ends.can_be_joined:
            self._join(near, ends.plain, ends.wire)
            return
        if ends is not None:
            ends.drop()
        self._was_not_carried(near)

    async def _dial_alternatives(self, near: socket.socket) -> Ends | None:
        """Dial the server; give the connection, or None."""
        task = asyncio.current_task()
        assert task is not None  # it is a coroutine
        slow = self._loop.call_later(SLOW, self._is_slow, near, task)
        try:
            return await self._dial_in_turn()
        except (ProtocolError, OSError) as error:
            logger.debug("! a connection failed: %r", error)
            if not self._pt_has_died():
                clock = kernel.is_clock_synchronised()
                text = causes.explain(error, proxy=self._has_proxy, clock=clock)
                self._complain(self._failures, text)
        finally:
            slow.cancel()
        return None

    async def _dial_in_turn(self) -> Ends:
        """Dial the server's addresses in turn, the one that last worked first.

        Raises:
            ProtocolError, OSError: none can be reached; the last one's error.
        """
        failure: ProtocolError | OSError | None = None
        for remote in self._alternatives:
            try:
                ends = await self._dial(remote)
            except (ArgumentsRejected, LoginRefused):
                raise  # they are the same for all
            except (ProtocolError, OSError) as error:
                failure = error
            else:
                self._alternatives.worked(remote)
                return ends
        assert failure is not None  # there is at least one address
        raise failure

    async def _dial(self, remote: Address) -> Ends:
        assert self._child is not None  # the listener is open
        wire = functools.partial(
            self._tunnels.wire, pt_is_ending=self._manners.is_ending
        )
        dialler = Dialler(
            self._config,
            self._child.launch,
            self._proxy,
            wire,
            has_died=self._pt_has_died,
        )
        return await dialler.dial(remote)

    def _is_slow(self, near: socket.socket, task: asyncio.Task[Any]) -> None:
        """Say so; and give up for a host that has closed for good meanwhile."""
        clock = kernel.is_clock_synchronised()
        text = causes.explain_silence(SLOW, proxy=self._has_proxy, clock=clock)
        self._complain(self._silences, text)
        if self._tunnels.host_is_gone(near):
            task.cancel()
