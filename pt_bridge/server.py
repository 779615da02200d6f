"""The server's side where the PT listens, and its connections go on to the host.

``hold=none``: the PT connects to the host by itself, and no byte passes through us; we
give it its addresses and a place for its identity, tell the operator what clients must
use, and see that neither of us outlives the other. ``hold=plain``: the PT brings its
connections to us (`pt_bridge.orport`), and a tunnel joins each with one to the host.
With ``hold=both`` we listen in the PT's place, too: `pt_bridge.held_server`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING, NoReturn

from pt_bridge import arguments, causes, identity, resolver, state
from pt_bridge.bridge import Bridge
from pt_bridge.callback import HANDSHAKE_LIMIT
from pt_bridge.connection import answer, reset
from pt_bridge.dial import connect
from pt_bridge.errors import TransportError, UsageError
from pt_bridge.held_dial import Ends
from pt_bridge.log import STDERR, logger, say
from pt_bridge.orport import OrPort
from pt_bridge.own_options import BOTH, NONE
from pt_bridge.port import explain, explain_text
from pt_bridge.protocol import environment, extorport
from pt_bridge.protocol.address import connectable

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Mapping

    from pt_bridge.child import Child
    from pt_bridge.config import Config
    from pt_bridge.errors import Died
    from pt_bridge.protocol.address import Address
    from pt_bridge.protocol.launch import Launch
    from pt_bridge.scrubber import Scrubber
    from pt_bridge.wire import Wire

# shadowsocks's server starts its plugin before it listens: how long to wait for it
# (seconds; conformance EO-09).
HOST_PATIENCE = 3.0
# How often to look whether another pt-bridge has started its PT (seconds).
LOCK_INTERVAL = 0.05


class ServerBridge(Bridge):
    """Keeps a PT server in front of the host."""

    def __init__(
        self,
        config: Config,
        variables: Mapping[bytes, bytes],
        scrubber: Scrubber,
    ) -> None:
        """Make a bridge; `run` builds it up and takes it down again.

        Args:
            config: what the user asks for.
            variables: our environment.
            scrubber: learns the arguments that the PT makes for its clients.
        """
        super().__init__(config, variables)
        self._scrubber = scrubber
        self._identity: dict[str, bytes] = {}
        self._refusals = causes.Complaints()

    async def _serve(self) -> NoReturn:
        self._bind = await self._pt_address()
        local = connectable(self._config.local)
        self._host = await _one_ip("SS_LOCAL_HOST", local)
        with self._tunnels:
            await self._keep_carrying()

    async def _pt_address(self) -> Address:
        """Give where the PT is to listen."""
        return await _one_ip("SS_REMOTE_HOST", self._config.remotes[0])

    async def _carry(self) -> Died:
        folder = state.persistent(self._config, self._variables)
        self._restore(folder)
        try:
            is_new = not os.listdir(folder)
        except OSError as error:
            raise state.cannot_write(folder, error) from None
        async with contextlib.AsyncExitStack() as stack:
            orport = await self._orport(stack)
            variables = environment.server(
                self._config.transport,
                state=os.fsencode(folder),
                bind=self._bind,
                orport=self._host if self._hold != BOTH else None,
                extended=None if orport is None else orport.address,
                cookie="" if orport is None else orport.cookie_path,
                arguments=self._config.arguments,
            )
            descriptors = [] if orport is None else [orport.cookie_file]
            async with _start_alone(folder):
                pt = self._pt(variables, descriptors)
                child = await stack.enter_async_context(pt)
                await self._ready(child)
            self._announce(folder, child.launch, is_new=is_new)
            with contextlib.suppress(OSError):  # it was there a moment ago
                self._identity = identity.read(folder)
            self._report_ready(child.launch, f"serving port {self._config.remote_port}")
            try:
                self._let_in()
                return await child.exited()
            finally:
                self._cut()

    def _let_in(self) -> None:
        """Let clients in: the PT is ready."""

    async def _orport(self, stack: contextlib.AsyncExitStack) -> OrPort | None:
        """Be where the PT brings its connections, unless that is the host itself."""
        if self._hold == NONE:
            return None
        self._dials = await stack.enter_async_context(_quiet_tasks())
        try:
            orport = OrPort(self._loop, self._called)
        except OSError as error:
            raise explain(error.errno or 0, 0) from None
        return stack.enter_context(orport)

    def _called(self, far: socket.socket, request: extorport.Request) -> None:
        """Reach the host for a connection that the PT brings."""
        del request  # who the client is matters to nobody yet
        self._start_reaching(far, None)

    def _start_reaching(self, plain: socket.socket, wire: Wire | None) -> None:
        self._start_dialling(
            self._dials,
            self._reach_host(),
            lambda near: self._dialled(Ends(plain, wire), near),
        )

    async def _reach_host(self) -> socket.socket | None:
        try:
            return await connect(
                self._host, patience=HOST_PATIENCE, limit=HANDSHAKE_LIMIT
            )
        except OSError as error:
            self._complain(self._refusals, causes.explain_host(error))
            return None

    def _dialled(self, ends: Ends, near: socket.socket | None) -> None:
        """Join the PT with the host, if that was reached."""
        if near is None:
            self._deny(ends)
        elif self._stopping or self._pt_has_died() or not ends.can_be_joined:
            self._deny(ends)
            reset(near)
        elif answer(ends.plain, extorport.OKAY):
            self._join(near, ends.plain, ends.wire)
        else:
            ends.drop()
            reset(near)

    def _deny(self, ends: Ends) -> None:
        """Turn the PT away; its client must not take that for an empty answer."""
        answer(ends.plain, extorport.DENY)
        ends.drop()

    def _restore(self, folder: str) -> None:
        """Give the next PT the keys of the one that died."""
        try:
            restored = identity.restore(folder, self._identity)
        except OSError as error:
            raise state.cannot_write(folder, error) from None
        if restored:
            logger.warning(
                "somebody has deleted %s in the state directory: written again",
                ", ".join(restored),
            )

    async def _ready(self, child: Child) -> None:
        try:
            await child.ready(self._config.start_timeout)
        except TransportError as error:
            raise explain_text(error.reason, self._bind.port) or error from error

    def _learn(self, launch: Launch) -> None:
        # At once: a line that the PT logs next may hold its secrets.
        self._scrubber.add(secrets=[value for _, value in launch.arguments])

    def _announce(self, folder: str, launch: Launch, *, is_new: bool) -> None:
        """Tell the operator what clients must use."""
        line = arguments.client_line(launch.transport, launch.arguments)
        path, before = state.write_client_options(folder, line)
        if is_new:
            logger.info("a new server: its clients' plugin options are in %s", path)
        elif before is not None and not arguments.same_identity(before, line):
            logger.warning(
                "this server's identity has changed: every client needs the new "
                "plugin options in %s",
                path,
            )
        elif not self._status.restarts:
            logger.info("the clients' plugin options are in %s", path)
        if os.isatty(STDERR):
            # For the person who sits there; no log gets to see it.
            say(line)


async def _one_ip(variable: str, address: Address) -> Address:
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
async def _quiet_tasks() -> AsyncIterator[asyncio.TaskGroup]:
    """Be a group of tasks that raise nothing, and let the block's error through."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


@contextlib.asynccontextmanager
async def _start_alone(folder: str) -> AsyncIterator[None]:
    """Start no PT while another pt-bridge starts one in the same folder."""
    lock = state.Lock(folder)
    try:
        while not lock.try_to_take():  # noqa: ASYNC110 - nobody would tell us
            await asyncio.sleep(LOCK_INTERVAL)
        yield
    finally:
        lock.release()
