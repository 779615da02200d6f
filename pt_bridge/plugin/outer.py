"""The plugin outside the PT, which carries the PT's connections, by SIP003.

On a client it listens on loopback, where the PT is sent instead of to the server, and
goes on to the server. On a server it listens where clients connect, and goes on to the
PT, which listens on loopback.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from typing import TYPE_CHECKING

from pt_bridge.errors import PtExited, PtExitedBeforeReady, PtStartTimeout
from pt_bridge.net.bind import (
    BIND_INTERVAL,
    BIND_PATIENCE,
    bind_error,
    bind_error_from,
)
from pt_bridge.net.connect import connect_local
from pt_bridge.options import outer_plugins
from pt_bridge.options.ss_variables import (
    LOCAL_HOST,
    LOCAL_PORT,
    PLUGIN_OPTIONS,
    REMOTE_HOST,
    REMOTE_PORT,
)
from pt_bridge.plugin.process import PluginProcess
from pt_bridge.protocol.address import Address, connectable
from pt_bridge.system.started import Started

if TYPE_CHECKING:
    from collections.abc import Callable

    from pt_bridge.files.program import FoundProgram

LOOPBACK = "127.0.0.1"
# Between two looks at one that does not listen yet (seconds).
RETRY = 0.02
# How long one try may take (seconds): a machine connects to itself at once.
TRY_LIMIT = 5.0


class OuterPlugin(Started):
    """One that runs; entering the block starts it, and waits until it listens.

    PtBridgeError is raised where it cannot be started or used, or takes too long.

    Attributes:
        name: what `via=` calls it.
        process: its process, once it is started.
    """

    process: PluginProcess

    def __init__(
        self,
        name: str,
        options: str,
        program: FoundProgram,
        *,
        remote: Address,
        local: Address | None = None,
        limit: float,
        on_started: Callable[[PluginProcess], None] | None = None,
    ) -> None:
        """Prepare one.

        Args:
            name: what `via=` calls it.
            options: its plugin options.
            program: its program.
            remote: SS_REMOTE: the server, or, on a server, where it is to listen.
            local: SS_LOCAL: on a server, where the PT listens; None on a client, where
                it listens itself, on a port of loopback that is free.
            limit: how long it may take to listen, in seconds.
            on_started: called with its process, which does not listen yet.
        """
        super().__init__()
        self.name = name
        self._options = options
        self._program = program
        self._remote = remote
        self._local = local
        self._limit = limit
        self._on_started = on_started
        self._says_ready = outer_plugins.says_ready(name, options)
        self._listener = Address(LOOPBACK, 0)

    @property
    def listener(self) -> Address:
        """Where it listens, as it can be connected to; known once it is started."""
        return self._listener

    async def _start(self, stack: contextlib.AsyncExitStack) -> None:
        local = self._local
        if local is None:
            local = self._listener = free_port()
        else:
            await _see_that_it_is_free(self._remote)
            self._listener = connectable(self._remote)
        process = PluginProcess(self.name, self._program, self._variables(local))
        self.process = await stack.enter_async_context(process)
        if self._on_started is not None:
            self._on_started(process)
        await self._until_it_listens()
        process.listens()

    def _variables(self, local: Address) -> dict[bytes, bytes]:
        texts = {
            REMOTE_HOST: self._remote.host,
            REMOTE_PORT: str(self._remote.port),
            LOCAL_HOST: local.host,
            LOCAL_PORT: str(local.port),
        }
        if self._options:
            texts[PLUGIN_OPTIONS] = self._options
        return {
            name: text.encode("utf-8", "surrogateescape")
            for name, text in texts.items()
        }

    async def _until_it_listens(self) -> None:
        """Look until it does: most plugins say nothing when they are ready."""
        try:
            async with asyncio.timeout(self._limit):
                while not (self._has_said_so() and await self._listens()):
                    if await self._has_ended_within(RETRY):
                        raise self._ended_too_early()
        except TimeoutError:
            words = self.process.last_words
            wrote = f"; it wrote: {words}" if words else ""
            raise PtStartTimeout(
                f"{self.name} did not listen on port {self._listener.port} within "
                f"{self._limit:g} seconds (start-timeout= sets the limit){wrote}",
                words,
            ) from None

    def _has_said_so(self) -> bool:
        """Whether it is ready by its own words, if it is one that has them.

        A pt-bridge listens at once, whatever becomes of its PT.
        """
        return self.process.has_said_ready or not self._says_ready

    async def _listens(self) -> bool:
        """Whether it listens.

        Nobody connects to see that: on a client, that would be a connection to the
        server, which carries nothing and so tells who is there.
        """
        error = _bind_error(self._listener)
        if error == errno.EACCES:  # it has a right that we have not
            try:
                sock = await connect_local(self._listener, patience=0, limit=TRY_LIMIT)
            except OSError:
                return False
            sock.close()
        elif error != errno.EADDRINUSE:
            return False
        # What listens there may be another program, which keeps it from doing so.
        return not self.process.is_ending()

    async def _has_ended_within(self, limit: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit):
                await self.process.ended()
                return True
        return False

    def _ended_too_early(self) -> Exception:
        words = self.process.last_words
        refused = bind_error_from(words.lower(), self._remote.port)
        if self._local is not None and refused is not None:
            return refused
        why = f": {words}" if words else " and wrote nothing"
        return PtExitedBeforeReady(
            f"{self.name} {self.process.how_it_ended()} before it listened{why} "
            f"(via-opts= has its options)",
            words,
        )

    def is_ending(self) -> bool:
        """Whether it has begun to exit, even where we were not told yet."""
        return self.process.is_ending()

    async def wait(self) -> PtExited:
        """Wait until it ends; return the error for it."""
        await self.process.ended()
        words = self.process.last_words
        wrote = f"; it wrote: {words}" if words else ""
        return PtExited(f"{self.name} {self.process.how_it_ended()}{wrote}", words)


async def _see_that_it_is_free(address: Address) -> None:
    """See that nobody listens where a plugin is to: it would be taken for the plugin.

    Raises:
        ListenError: somebody does, or the address is not this machine's.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + BIND_PATIENCE
    while error := _bind_error(address):
        # A plugin may have a right that we have not (cap_net_bind_service).
        if error == errno.EACCES:
            return
        if error != errno.EADDRINUSE or loop.time() > deadline:
            raise bind_error(error, address.port, is_server=True)
        await asyncio.sleep(BIND_INTERVAL)


def _bind_error(address: Address) -> int:
    """Return why an address cannot be bound, 0 if it can; no one is let in.

    It can be where somebody has bound it, and does not listen yet (SO_REUSEADDR).
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        with socket.socket(family) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((address.host, address.port))
    except OSError as error:
        return error.errno or errno.EADDRINUSE
    return 0


def free_port() -> Address:
    """Return a port of loopback that nothing listens on, as SIP003's hosts choose one.

    Nobody holds it until it is used: where somebody takes it meanwhile, the plugin
    ends, and has another one when it is started again.
    """
    with socket.socket() as sock:
        sock.bind((LOOPBACK, 0))
        return Address(LOOPBACK, sock.getsockname()[1])
