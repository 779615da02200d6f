"""The misdeeds, carried out as they are due."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import time
from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING

import psutil

from chaos.schedule import Misdeed, Route
from chaos.stage import READY, bridge, pt
from chaos.verdict import Window
from integration.support.programs import STOP_DEADLINE, exited

if TYPE_CHECKING:
    from collections.abc import Iterable

    from chaos.schedule import Event
    from chaos.stage import Stage
    from chaos.traffic import Traffic
    from integration.support.programs import Program

# So many descriptors more may be had where they are scarce: one connection and a half.
SPARE = 3
# So many connections come meanwhile, at once.
CROWD = 20
# How long what ss-server leaves behind may take to end (seconds).
ORPHANS_LIMIT = 15.0

# What a misdeed is done to; while it is not well again, no other is done to it.
PLACES = {
    Misdeed.KILL_CLIENT_PT: "the client's PT",
    Misdeed.STOP_CLIENT_PT: "the client's PT",
    Misdeed.KILL_SERVER_PT: "the server",
    Misdeed.STOP_SERVER_PT: "the server",
    Misdeed.KILL_SS_SERVER: "the server",
    Misdeed.FORGET: "the server",
    Misdeed.FILL: "the client",
}


class Misdeeds:
    """Does what is scheduled.

    Attributes:
        windows: what was done so far.
        skipped: how often something was not there to be done anything to.
        faults: what went wrong that is no connection's failure, in sentences.
        longest_start: how long a PT that was killed took at most to be ready again.
        longest_orphan: how long what ss-server left behind took at most to end.
    """

    def __init__(self, stage: Stage, traffic: Traffic, windows: list[Window]) -> None:
        """Take the programs, and the traffic; `windows` is filled."""
        self.windows = windows
        self.skipped = 0
        self.faults: list[str] = []
        self.longest_start = 0.0
        self.longest_orphan = 0.0
        self._stage = stage
        self._traffic = traffic
        self._busy: set[tuple[Route, str]] = set()

    @property
    def done(self) -> Counter[Misdeed]:
        """How often each was done."""
        return Counter(window.misdeed for window in self.windows)

    async def run(self, events: Iterable[Event]) -> None:
        """Do them all, each at its time; ends when everything is well again."""
        loop = asyncio.get_running_loop()
        start = loop.time()
        async with asyncio.TaskGroup() as group:
            for event in events:
                await asyncio.sleep(start + event.at - loop.time())
                if self.faults:
                    return
                place = (event.route, PLACES[event.misdeed])
                if place in self._busy:
                    self.skipped += 1
                else:
                    self._busy.add(place)
                    group.create_task(self._do(event, place))

    async def _do(self, event: Event, place: tuple[Route, str]) -> None:
        loop = asyncio.get_running_loop()
        after = self._stage.ends[event.route].after
        window = Window(event.route, event.misdeed, loop.time(), after=after)
        self.windows.append(window)
        try:
            match event.misdeed:
                case Misdeed.STOP_CLIENT_PT | Misdeed.STOP_SERVER_PT:
                    await self._stop(event)
                case Misdeed.FILL:
                    await self._fill(event)
                case Misdeed.KILL_SS_SERVER:
                    await asyncio.to_thread(self._kill_ss_server, event.route)
                case _:
                    await asyncio.to_thread(self._kill_pt, event, window)
        except (AssertionError, OSError, psutil.Error, ValueError) as error:
            self.faults.append(
                f"{event.route.value}, at {event.at:.2f} s, {event.misdeed.value}: "
                f"{type(error).__name__}: {error}"
            )
        finally:
            window.ended = loop.time()
            self._busy.discard(place)

    def _program(self, event: Event) -> Program:
        ends = self._stage.ends[event.route]
        is_client = event.misdeed in (
            Misdeed.KILL_CLIENT_PT,
            Misdeed.STOP_CLIENT_PT,
            Misdeed.FILL,
        )
        return ends.client if is_client else ends.server

    async def _stop(self, event: Event) -> None:
        process = await asyncio.to_thread(pt, self._program(event))
        process.suspend()
        try:
            await asyncio.sleep(event.lasts)
        finally:
            process.resume()

    async def _fill(self, event: Event) -> None:
        """Leave a pt-bridge hardly any descriptor, and ask it for many."""
        process = await asyncio.to_thread(bridge, self._program(event))
        soft, hard = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
        scarce = len(os.listdir(f"/proc/{process.pid}/fd")) + SPARE
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (scarce, hard))
        async with asyncio.TaskGroup() as group:
            group.create_task(self._traffic.crowd(event.route, CROWD))
            try:
                await asyncio.sleep(event.lasts)
            finally:
                resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (soft, hard))

    def _kill_pt(self, event: Event, window: Window) -> None:
        """Kill a PT, its keys deleted before or not; wait until there is another."""
        program = self._program(event)
        said = len(program.output)
        process = pt(program)
        if event.misdeed is Misdeed.FORGET:
            shutil.rmtree(self._stage.state(event.route))
        window.began = began = time.monotonic()  # the loop's clock, too
        process.kill()
        program.wait_for(READY, after=said)
        self.longest_start = max(self.longest_start, time.monotonic() - began)
        if event.misdeed is not Misdeed.KILL_CLIENT_PT:
            self._look_at_options(event.route)

    def _kill_ss_server(self, route: Route) -> None:
        """Kill ss-server; when all that it started is gone, start it again."""
        ends = self._stage.ends[route]
        plugin = bridge(ends.server)
        with ExitStack() as stack:
            pidfds = []
            for process in (plugin, *plugin.children(recursive=True)):
                pidfds.append(os.pidfd_open(process.pid))
                stack.callback(os.close, pidfds[-1])
            began = time.monotonic()
            psutil.Process(ends.server.pid).kill()
            for pidfd in pidfds:
                assert exited(pidfd, STOP_DEADLINE), "what it had started goes on"
            lasted = time.monotonic() - began
        self.longest_orphan = max(self.longest_orphan, lasted)
        assert lasted <= ORPHANS_LIMIT, (
            f"what it had started took {lasted:.2f} s to end"
        )
        ends.server = self._stage.start_ss_server()
        self._look_at_options(route)

    def _look_at_options(self, route: Route) -> None:
        assert self._stage.client_options(route) == self._stage.ends[route].options, (
            "the clients' plugin options have changed"
        )
