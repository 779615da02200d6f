"""One Bridge: what runs between a shadowsocks host and a PT, from start to stop.

Client: the host connects to our listener, we dial the PT's SOCKS port, and a tunnel
joins the two. Server: the PT listens itself and connects to the host itself; there is
nothing to do but to keep it running.

This is the only module that knows more than one of child, listener, dial and tunnel.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from typing import TYPE_CHECKING

from pt_bridge import host, kernel, own_options, program, resolver, state
from pt_bridge.child import Child
from pt_bridge.connection import reset
from pt_bridge.dial import DIAL_LIMIT, dial
from pt_bridge.errors import (
    ArgumentsRejected,
    Died,
    ProtocolError,
    ProxyRefused,
    PtBridgeError,
    TransportError,
    UsageError,
)
from pt_bridge.listener import Listener, explain_text
from pt_bridge.log import Throttle, logger
from pt_bridge.protocol import environment, socks4, socks5
from pt_bridge.protocol.address import Address, Alternatives, is_wildcard
from pt_bridge.protocol.launch import Launch
from pt_bridge.tunnel import Tunnel

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Mapping

    from pt_bridge.config import Config
    from pt_bridge.scrubber import Scrubber

# Descriptors that are not for tunnels: the PT's pipes, the log, the event loop.
RESERVED_DESCRIPTORS = 64
DESCRIPTORS_PER_TUNNEL = 2
# A stop signals us and the PT at once, and we may hear of the PT's death first: how
# long our own signal may take to come (seconds).
STOP_PATIENCE = 0.1
# How often to look whether another pt-bridge has started its PT (seconds).
LOCK_INTERVAL = 0.05
# Of failed connections, one in so many seconds is logged.
COMPLAINT_INTERVAL = 30.0


class Bridge:
    """Everything between the host and the PT."""

    def __init__(
        self,
        config: Config,
        variables: Mapping[bytes, bytes],
        scrubber: Scrubber,
        sock: socket.socket | None,
    ) -> None:
        """Make a bridge; `run` builds it up and takes it down again.

        Args:
            config: what the user asks for.
            variables: our environment.
            scrubber: learns what the PT tells us and must not be logged.
            sock: where a client listens already; None for a server.
        """
        self._config = config
        self._variables = variables
        self._scrubber = scrubber
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._main: asyncio.Task[None] | None = None
        self._child: Child | None = None
        self._stopping = False
        self._listener: Listener | None = None
        self._dialling: set[asyncio.Task[None]] = set()
        self._tunnels: set[Tunnel] = set()
        self._alternatives = Alternatives(config.remotes)
        self._failures = Throttle(COMPLAINT_INTERVAL)

    async def run(self) -> None:
        """Carry connections until `stop` is called.

        Raises:
            PtBridgeError: that cannot be done, or not any more.
        """
        self._main = asyncio.current_task()
        for warning in self._config.warnings:
            logger.warning("%s", warning)
        try:
            with contextlib.ExitStack() as stack:
                if self._config.plugin:
                    stack.enter_context(host.watched(self._loop, self._host_ended))
                if self._sock is not None:
                    await self._run_client(self._sock)
                else:
                    await self._run_server()
        except (asyncio.CancelledError, PtBridgeError):
            if not self._stopping:
                raise
        logger.info("stopped")

    def stop(self) -> None:
        """End everything, the PT first and at once; a second call kills the PT."""
        if self._child is not None:
            if self._stopping:
                self._child.kill()
            else:
                self._child.end()
        if self._main is not None and not self._stopping:
            self._main.cancel()
        self._stopping = True

    def _host_ended(self) -> None:
        if not self._stopping:
            logger.info("the host that started pt-bridge has ended")
            self.stop()

    # The PT, on both sides.

    @contextlib.asynccontextmanager
    async def _pt(self, variables: dict[bytes, bytes]) -> AsyncIterator[Child]:
        """Run the PT for as long as the block lasts."""
        here = os.getcwd()
        path = program.find(self._config.programs, self._variables, here)
        inherited = environment.inherited(self._variables)
        if b"PATH" in inherited:
            folders = program.search_path(self._variables, here)
            inherited[b"PATH"] = os.fsencode(os.pathsep.join(folders))
        launch = Launch(
            os.path.basename(path),
            self._config.transport,
            server=self._config.server,
            proxy=self._config.upstream_proxy is not None,
        )
        logger.info("starting %s", path)
        async with Child(path, {**inherited, **variables}, launch) as self._child:
            yield self._child

    def _report_ready(self, launch: Launch, where: str) -> None:
        logger.info("ready: %s, %s", launch.program, where)
        if "lyrebird" in (launch.implementation, launch.program):
            logger.warning(
                "lyrebird does not pass on that a connection was closed: an answer "
                "that ends by closing may seem to hang; obfs4proxy does pass it on"
            )

    async def _until_death(self, child: Child) -> Died:
        """Wait until the PT ends; a stop that was meant for both of us comes first."""
        death = await child.exited()
        self._cut()
        await asyncio.sleep(STOP_PATIENCE)
        return death

    def _cut(self) -> None:
        """Reset what goes through the PT, and let nothing more through."""
        if self._listener is not None:
            self._listener.park()
        for task in self._dialling:
            task.cancel()
        for tunnel in list(self._tunnels):
            tunnel.reset()

    # The client's side.

    async def _run_client(self, sock: socket.socket) -> None:
        limit = kernel.raise_descriptor_limit() - RESERVED_DESCRIPTORS
        budget = max(1, limit // DESCRIPTORS_PER_TUNNEL)
        with (
            Listener(
                self._loop, sock, self._deliver, logger.warning, budget=budget
            ) as self._listener,
            self._client_folder() as folder,
        ):
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
                raise await self._carry_until_death(self._listener, child)

    def _client_folder(self) -> contextlib.AbstractContextManager[str]:
        if self._config.state is None:
            return state.temporary(self._variables)
        return contextlib.nullcontext(state.persistent(self._config, self._variables))

    async def _proxy_url(self) -> str | None:
        proxy = self._config.upstream_proxy
        if proxy is None:
            return None
        try:
            return proxy.url((await resolver.resolve(proxy.address))[0].host)
        except OSError as error:
            raise ProxyRefused(
                f"the name of the upstream proxy cannot be resolved: {error.strerror}"
            ) from None

    async def _carry_until_death(self, listener: Listener, child: Child) -> Died:
        """Let connections through until the PT ends, and then reset them all."""
        async with asyncio.TaskGroup() as self._dials:
            try:
                listener.open()
                return await self._until_death(child)
            finally:
                self._cut()

    def _deliver(self, near: socket.socket) -> None:
        task = self._dials.create_task(self._carry(near))
        self._dialling.add(task)
        task.add_done_callback(self._dialling.discard)

    async def _carry(self, near: socket.socket) -> None:
        """Dial the PT for a connection, and join the two; no error leaves this."""
        try:
            far = await self._dial_alternatives()
        except BaseException as error:
            reset(near)
            self._release()
            if isinstance(error, (ProtocolError, OSError)):
                self._complain(error)
            elif isinstance(error, Exception):
                logger.exception("a bug in pt-bridge has ended one connection")
            else:
                raise
        else:
            self._join(near, far)

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
        )
        self._tunnels.add(tunnel)

    def _tunnel_ended(self, tunnel: Tunnel) -> None:
        self._tunnels.discard(tunnel)
        self._release()

    def _release(self) -> None:
        assert self._listener is not None  # the connection came from it
        self._listener.release()

    async def _dial_alternatives(self) -> socket.socket:
        """Dial the server's addresses in turn, the one that last worked first.

        Raises:
            ProtocolError, OSError: none can be reached; the last one's error.
        """
        failure: ProtocolError | OSError | None = None
        for remote in self._alternatives:
            try:
                sock = await self._dial(remote)
            except ArgumentsRejected:
                raise
            except (ProtocolError, OSError) as error:
                failure = error
                continue
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

    def _complain(self, error: ProtocolError | OSError) -> None:
        """Log why a connection failed, now and then, and what may be wrong."""
        logger.debug("! a connection failed: %r", error)
        if not self._failures.admits(self._loop.time()):
            return
        held_back = self._failures.count()
        more = f" ({held_back} more since the last such line)" if held_back else ""
        if isinstance(error, ArgumentsRejected):
            text = (
                f"the PT rejected the arguments: copy the server's line whole, "
                f"escapes included{more}"
            )
        else:
            why = f"no answer within {DIAL_LIMIT:g} seconds"
            if not isinstance(error, TimeoutError):
                why = str(error)
            text = (
                f"a connection failed ({why}): the server may be down or blocked, "
                f"SS_REMOTE_HOST or SS_REMOTE_PORT wrong, the arguments (cert=) not "
                f"this server's, or this machine's clock off by an hour{more}"
            )
        logger.warning("%s", text)

    # The server's side.

    async def _run_server(self) -> None:
        bind = await self._one_ip("SS_REMOTE_HOST", self._config.remotes[0])
        local = self._config.local
        if is_wildcard(local.host):
            local = Address("::1" if ":" in local.host else "127.0.0.1", local.port)
        orport = await self._one_ip("SS_LOCAL_HOST", local)
        folder = state.persistent(self._config, self._variables)
        variables = environment.server(
            self._config.transport,
            state=os.fsencode(folder),
            bind=bind,
            orport=orport,
            arguments=self._config.arguments,
        )
        async with contextlib.AsyncExitStack() as stack:
            async with self._lock(folder):
                child = await stack.enter_async_context(self._pt(variables))
                try:
                    await child.ready(self._config.start_timeout)
                except TransportError as error:
                    raise explain_text(error.reason, bind.port) or error from error
            self._announce(folder, child.launch)
            self._report_ready(child.launch, f"serving port {bind.port}")
            raise await self._until_death(child)

    async def _one_ip(self, variable: str, address: Address) -> Address:
        """Resolve what the PT wants as an IP address.

        Raises:
            UsageError: there is none.
        """
        try:
            found = await resolver.resolve(address)
        except OSError as error:
            raise UsageError(
                f"{variable} cannot be resolved: {error.strerror}; give an IP address"
            ) from None
        if len(found) > 1:
            logger.info("%s has several addresses, taking %s", variable, found[0].host)
        return found[0]

    @contextlib.asynccontextmanager
    async def _lock(self, folder: str) -> AsyncIterator[None]:
        """Start no PT while another pt-bridge starts one in the same folder."""
        lock = state.Lock(folder)
        try:
            while not lock.try_to_take():
                await asyncio.sleep(LOCK_INTERVAL)
            yield
        finally:
            lock.release()

    def _announce(self, folder: str, launch: Launch) -> None:
        """Tell the operator what clients must use."""
        self._scrubber.add(secrets=[value for _, value in launch.arguments])
        line = own_options.client_line(launch.transport, launch.arguments)
        path, before = state.write_client_options(folder, line)
        if before is None:
            logger.info(
                "this server is new: its clients' plugin options are in %s", path
            )
        elif before != line:
            logger.warning(
                "this server's identity has changed: every client needs the new "
                "plugin options in %s",
                path,
            )
        else:
            logger.info("the clients' plugin options are in %s", path)
        if sys.stderr.isatty():
            # For the person who sits there; the log, where there is one, has no cert.
            sys.stderr.write(f"{line}\n")
