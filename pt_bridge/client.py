"""The client's side: the host connects to us, we dial the PT, a tunnel joins both."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
from typing import TYPE_CHECKING, NoReturn

from pt_bridge import causes, kernel, resolver, state
from pt_bridge.bridge import Bridge
from pt_bridge.connection import reset
from pt_bridge.dial import dial
from pt_bridge.errors import ArgumentsRejected, ProtocolError, ProxyRefused
from pt_bridge.listener import Listener
from pt_bridge.log import logger
from pt_bridge.protocol import environment, socks4, socks5
from pt_bridge.protocol.address import Address, Alternatives
from pt_bridge.splice import MAX_PIPES, PipePool, pump_maker
from pt_bridge.tunnel import Tunnel

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

    from pt_bridge.child import Child
    from pt_bridge.config import Config
    from pt_bridge.errors import Died

# Descriptors that are not for tunnels: the PT's pipes, the log, the event loop.
RESERVED_DESCRIPTORS = 32
# Of all descriptors, one in so many pairs may be a pipe that tunnels borrow.
PIPES_SHARE = 16
DESCRIPTORS_PER_TUNNEL = 2
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
        limit = kernel.raise_descriptor_limit()
        self._pipes = PipePool(most=min(MAX_PIPES, limit // PIPES_SHARE))
        limit -= RESERVED_DESCRIPTORS + self._pipes.descriptors
        self._listener = Listener(
            self._loop,
            sock,
            self._deliver,
            logger.warning,
            budget=max(1, limit // DESCRIPTORS_PER_TUNNEL),
            patience=config.start_timeout,
        )
        self._dialling: set[asyncio.Task[socket.socket | None]] = set()
        self._tunnels: set[Tunnel] = set()
        self._alternatives = Alternatives(config.remotes)
        self._failures = causes.Complaints()
        self._silences = causes.Complaints()
        self._moved = 0
        self._proxy_host = ""
        self._has_proxy = config.upstream_proxy is not None

    async def _serve(self) -> NoReturn:
        with self._listener, self._pipes:
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
        """Let nothing more through; who had not yet begun waits for the next PT."""
        self._listener.park()
        for task in self._dialling:
            task.cancel()
        for tunnel in list(self._tunnels):
            tunnel.reset()

    def _deliver(self, near: socket.socket) -> None:
        """Dial the PT for a connection that is due."""
        task = self._dials.create_task(self._dial_alternatives())
        self._dialling.add(task)
        # Not in the task itself: one that is cancelled before it begins runs nothing.
        task.add_done_callback(functools.partial(self._dialled, near))

    def _dialled(
        self, near: socket.socket, task: asyncio.Task[socket.socket | None]
    ) -> None:
        self._dialling.discard(task)
        far = None if task.cancelled() or task.exception() else task.result()
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
        self._a_tunnel_ended()

    def _pt_has_died(self) -> bool:
        return self._child is not None and self._child.is_ending()

    def _join(self, near: socket.socket, far: socket.socket) -> None:
        assert self._child is not None  # it was dialled
        tunnel = Tunnel(
            self._loop,
            near,
            far,
            linger=self._config.linger,
            idle=self._config.idle,
            pt_is_ending=self._child.is_ending,
            ended=self._tunnel_ended,
            pump=pump_maker(self._pipes),
        )
        self._tunnels.add(tunnel)
        self._status.opened += 1
        logger.debug("= a tunnel is open, of %d", len(self._tunnels))

    def _tunnel_ended(self, tunnel: Tunnel) -> None:
        self._tunnels.discard(tunnel)
        self._moved += tunnel.moved
        logger.debug("x a tunnel has ended after %d bytes", tunnel.moved)
        self._listener.release()
        self._a_tunnel_ended()

    def _refuse_new(self) -> None:
        self._listener.close()

    def _open_tunnels(self) -> int:
        return len(self._tunnels) + len(self._dialling)

    def report(self) -> None:
        """Write to the log how we are (SIGUSR1)."""
        self._status.open = len(self._tunnels)
        moving = sum(tunnel.moved for tunnel in self._tunnels)
        self._status.moved = self._moved + moving
        super().report()

    async def _dial_alternatives(self) -> socket.socket | None:
        """Dial the server; give the connection, or None: no error leaves this."""
        slow = self._loop.call_later(SLOW, self._complain_of_silence)
        try:
            return await self._dial_in_turn()
        except (ProtocolError, OSError) as error:
            logger.debug("! a connection failed: %r", error)
            if not self._pt_has_died():
                text = causes.explain(error, proxy=self._has_proxy)
                self._complain(self._failures, text)
        except Exception:
            logger.exception("a bug ended a connection")
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

    def _complain(self, complaints: causes.Complaints, text: str) -> None:
        """Log what is wrong with a connection, now and then."""
        complaint = complaints.admit(text, self._loop.time())
        if complaint is not None:
            logger.warning("%s", complaint)
