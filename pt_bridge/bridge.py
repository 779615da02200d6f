"""One Bridge: what runs between a shadowsocks host and a PT, from start to stop.

`Bridge` is what both sides have in common: the PT, the host that may end, the stop. The
sides themselves are `pt_bridge.client` and `pt_bridge.server`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING

from pt_bridge import host, program
from pt_bridge.child import Child
from pt_bridge.errors import Died, PtBridgeError
from pt_bridge.log import logger
from pt_bridge.protocol import environment
from pt_bridge.protocol.launch import Launch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from pt_bridge.config import Config

# A stop signals us and the PT at once, and we may hear of the PT's death first: how
# long our own signal may take to come (seconds).
STOP_PATIENCE = 0.1


class Bridge:
    """Everything between the host and the PT; a subclass for each side."""

    def __init__(self, config: Config, variables: Mapping[bytes, bytes]) -> None:
        """Make a bridge; `run` builds it up and takes it down again.

        Args:
            config: what the user asks for.
            variables: our environment.
        """
        self._config = config
        self._variables = variables
        self._loop = asyncio.get_running_loop()
        self._main: asyncio.Task[None] | None = None
        self._child: Child | None = None
        self._stopping = False

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
                await self._serve()
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

    async def _serve(self) -> None:
        """Be this side of the bridge until the PT ends, which is an error."""
        raise NotImplementedError

    @contextlib.asynccontextmanager
    async def _pt(self, variables: dict[bytes, bytes]) -> AsyncIterator[Child]:
        """Run the PT, with these TOR_PT_* variables, for as long as the block lasts."""
        try:
            here = os.getcwd()
        except OSError:  # somebody has removed it
            here = "/"
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
        everything = {**inherited, **variables}
        async with Child(path, everything, launch, self._learn) as self._child:
            yield self._child

    def _learn(self, launch: Launch) -> None:
        """Take note of what the PT has said of its start so far."""

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
