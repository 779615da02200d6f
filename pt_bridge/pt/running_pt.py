"""A PT that is started, and ready, for as long as its block lasts.

With it runs the plugin that carries its connections, where one is asked for: neither is
of use without the other, so the end of one is the end of both.

What a client and a server have in common; the rest is in `pt_bridge.pt.client` and
`pt_bridge.pt.server`. The run and doctor both start PTs by these, and in no other way.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from pt_bridge.plugin.outer import OuterPlugin
from pt_bridge.system.started import Started

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Callable, Mapping, Sequence

    from pt_bridge.errors import PtExited
    from pt_bridge.files.program import FoundProgram
    from pt_bridge.options.config import Config
    from pt_bridge.plugin.process import PluginProcess
    from pt_bridge.protocol.address import Address
    from pt_bridge.protocol.pt_launch import Launch
    from pt_bridge.pt.process import PtProcess
    from pt_bridge.pt.program import Pt


class PtSetup(NamedTuple):
    """What a PT is started with, on either side.

    Attributes:
        config: what the user asks for.
        variables: our environment.
        find_program: returns the program, or raises ProgramError; asked only when all
            that it needs is there.
        limit: how long it may take to be ready, in seconds.
        find_outer: returns the program of the plugin that `via=` names, or raises
            PtBridgeError; None where there is none.
        on_started: called with its process, which is not ready yet.
        on_outer_started: called with the plugin's process, likewise.
        on_launch_message: see `PtProcess`.
    """

    config: Config
    variables: Mapping[bytes, bytes]
    find_program: Callable[[], Pt]
    limit: float
    find_outer: Callable[[], FoundProgram] | None = None
    on_started: Callable[[PtProcess], None] | None = None
    on_outer_started: Callable[[PluginProcess], None] | None = None
    on_launch_message: Callable[[Launch], None] | None = None


class RunningPt(Started):
    """One PT; entering the block starts it, and waits until it is ready.

    PtBridgeError is raised where it cannot be started or used, or takes too long.

    Attributes:
        process: its process, once it is started.
        outer: the plugin that carries its connections, once that is started, or None.
    """

    process: PtProcess
    outer: OuterPlugin | None = None

    def __init__(self, setup: PtSetup) -> None:
        """Prepare one."""
        super().__init__()
        self._setup = setup
        self._config, self._variables = setup.config, setup.variables

    async def _run(
        self,
        stack: contextlib.AsyncExitStack,
        variables: Mapping[bytes, bytes],
        descriptors: Sequence[int] = (),
        transports: Sequence[str] = (),
    ) -> None:
        """Run it with these TOR_PT_* variables, and wait until it is ready."""
        process = self._setup.find_program().child(
            self._config,
            variables,
            transports=transports,
            on_launch_message=self._setup.on_launch_message,
            descriptors=descriptors,
        )
        self.process = await stack.enter_async_context(process)
        if self._setup.on_started is not None:
            self._setup.on_started(process)
        await process.ready(self._setup.limit)

    async def _run_outer(
        self,
        stack: contextlib.AsyncExitStack,
        program: FoundProgram,
        *,
        remote: Address,
        local: Address | None = None,
    ) -> OuterPlugin:
        """Run the plugin that carries its connections, as with `OuterPlugin`."""
        via = self._config.via
        assert via is not None  # else nobody would have found its program
        outer = OuterPlugin(
            via.name,
            via.options,
            program,
            remote=remote,
            local=local,
            limit=self._setup.limit,
            on_started=self._setup.on_outer_started,
        )
        self.outer = await stack.enter_async_context(outer)
        return outer

    @property
    def launch(self) -> Launch:
        """What it has said of its start."""
        return self.process.launch

    def is_ending(self) -> bool:
        """Whether it has begun to exit, even where we were not told yet."""
        has_outer_ended = self.outer is not None and self.outer.is_ending()
        return has_outer_ended or self.process.is_ending()

    async def wait(self) -> PtExited:
        """Wait until it ends, or its plugin; return the error for it."""
        if self.outer is None:
            return await self.process.wait()
        async with asyncio.TaskGroup() as group:
            ends = [
                group.create_task(each.wait()) for each in (self.outer, self.process)
            ]
            done, left = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for end in left:
                end.cancel()
        return next(end for end in ends if end in done).result()
