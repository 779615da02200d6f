"""One tunnel for as long as it is wanted: its bridge, started again where it fails.

Beside the present bridge may be others that were replaced
(`process.replaceable_tunnel`), and carry what they have to its end. They outlive
whatever becomes of the present one.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pt_bridge.bridge.server import ServerBridge
from pt_bridge.errors import PtBridgeError
from pt_bridge.net import takeover
from pt_bridge.process.another_try import AnotherTry
from pt_bridge.process.trial_start import try_start
from pt_bridge.process.tunnel_spec import become_free, listen
from pt_bridge.system import log
from pt_bridge.system.log import logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pt_bridge.bridge.base import Bridge
    from pt_bridge.metrics.figures import Figures
    from pt_bridge.options.config import Config
    from pt_bridge.process.tunnel_spec import Sockets, TunnelSpec
    from pt_bridge.protocol.address import Address

    # Makes a bridge of sockets, which it owns, and of whether it takes anybody in
    # before its PT is ready.
    MakeBridge = Callable[[Config, Sockets, bool], Bridge]

# How long a bridge that was replaced may keep its tunnels (seconds).
DRAIN = 3600.0


@dataclass(frozen=True, slots=True)
class TunnelSetup:
    """What a tunnel begins with.

    Attributes:
        wanted: what it is to be.
        make_bridge: makes its bridges.
        variables: our environment.
        sockets: where it listens already; they are owned from now on. None where
            another tunnel of ours has yet to give up the port.
        is_kept: whether one that fails is started again, for ever.
    """

    wanted: TunnelSpec
    make_bridge: MakeBridge
    variables: Mapping[bytes, bytes]
    sockets: Sockets | None
    is_kept: bool = False


class Tunnel:
    """One tunnel, from its start to its end.

    Attributes:
        wanted: what the present bridge is, or the one that is tried again.
        is_well: whether a PT was ready, and has not failed since.
        on_settled: called whenever a PT is ready, or has failed.
        taken: returns where other tunnels of ours listen.
    """

    def __init__(self, setup: TunnelSetup) -> None:
        """Create one without a bridge."""
        self.wanted = setup.wanted
        self._make_bridge = setup.make_bridge
        self._variables = setup.variables
        self._sockets: Sockets = setup.sockets or {}
        self._listens_late = setup.sockets is None
        # Where we listen ourselves, we have the sockets; a PT cannot share its own.
        self._takes_over = takeover.is_going_on() and bool(setup.wanted.of_pt)
        self._is_kept = setup.is_kept
        self._present: Bridge | None = None
        self._latest: Bridge | None = None
        self._before: set[Bridge] = set()
        self._another_try = AnotherTry()
        self._is_ending = False
        self._tasks: asyncio.TaskGroup
        self._failure: Exception | None = None
        self._over = asyncio.Event()
        self.is_well = False
        self.on_settled: Callable[[], None] = lambda: None
        self.taken: Callable[[], Iterable[Address]] = tuple

    async def run(self) -> None:
        """Carry connections until it is told to end.

        Raises:
            PtBridgeError: that cannot be done, or not any more.
        """
        try:
            async with asyncio.TaskGroup() as self._tasks:
                if self._takes_over:
                    self._tasks.create_task(self._take_over())
                elif self._listens_late:
                    self._tasks.create_task(self._begin_once_free())
                else:
                    self._begin()
                await self._over.wait()
        finally:
            self._close()
        if self._failure is not None:
            raise self._failure

    @property
    def sockets(self) -> Sockets:
        """Where it listens itself."""
        return self._sockets

    @property
    def of_pt(self) -> Sequence[Address]:
        """Where its PT listens."""
        return () if self._present is None else self.wanted.of_pt

    def _close(self) -> None:
        for sock in self._sockets.values():
            sock.close()
        self._sockets = {}

    # Starting, and starting again.

    def _begin(self) -> None:
        """Start what is wanted as the present bridge."""
        # Another pt-bridge that may go on takes who comes until this one is ready.
        early = not takeover.is_going_on()
        self._present = self._start(self.wanted, self._sockets, accepts_early=early)
        self._present.on_ready = self._on_ready

    def _start(
        self, wanted: TunnelSpec, sockets: Sockets, *, accepts_early: bool = True
    ) -> Bridge:
        shared = {place: sock.dup() for place, sock in sockets.items()}
        bridge = self._make_bridge(wanted.config, shared, accepts_early)
        if isinstance(self._latest, ServerBridge) and isinstance(bridge, ServerBridge):
            bridge.succeed(self._latest)
        self._latest = bridge
        self._tasks.create_task(self._run(bridge))
        return bridge

    def _on_ready(self) -> None:
        self._another_try.has_succeeded()
        self.is_well = True
        self.on_settled()

    async def _run(self, bridge: Bridge) -> None:
        failure: Exception | None = None
        try:
            await bridge.run()
        except Exception as error:  # a bug is the caller's to tell of, as any other
            failure = error
        self._before.discard(bridge)
        if bridge is self._present:
            self._present = None
            self._on_ended(failure)
        else:
            self._on_other_ended(bridge, failure)

    def _on_other_ended(self, bridge: Bridge, failure: Exception | None) -> None:
        """See what comes of the end of a bridge that is not the present one."""

    def _on_ended(self, failure: Exception | None) -> None:
        """See how it goes on without a present bridge."""
        if self._is_ending:
            return
        if self._is_kept or self._before:
            self._close()
            self.is_well = False
            self.on_settled()
            self._tasks.create_task(self._try_later(failure))
        else:
            self._failure = failure
            self._end()

    async def _try_later(self, failure: Exception | None) -> None:
        """Start again after a while; nobody is let in meanwhile, to wait in vain."""
        await self._another_try.after(failure, self.wanted.in_its_words)
        self._listen_and_begin()

    def _listen_and_begin(self) -> None:
        if self._is_ending:
            return
        try:
            self._sockets = listen(self.wanted, taken=self.taken())
            self._begin()
        except (PtBridgeError, OSError) as error:
            self._on_ended(error)

    async def _begin_once_free(self) -> None:
        """Start as soon as nobody listens any more where clients connect."""
        await become_free(lambda: None if self._is_ending else self.wanted, self.taken)
        self._listen_and_begin()

    async def _take_over(self) -> None:
        """Start once another process has given up the port of its PT.

        It does that when it is told that we are ready: what can be known is tried out.
        """
        try:
            await try_start(self.wanted.config, self._variables)
        except (PtBridgeError, OSError) as error:
            self._on_ended(error)
            return
        self.is_well = True
        self.on_settled()
        await self._begin_once_free()

    # Ending.

    def _bridges(self) -> list[Bridge]:
        """Return those that carry something, or may."""
        return list(filter(None, (*self._before, self._present)))

    def _end(self) -> None:
        """Start nothing any more, and be over with the last bridge."""
        self._is_ending = True
        self._close()
        self._another_try.now()
        self._over.set()

    def stop(self) -> None:
        """End everything at once; a second call kills what has not ended."""
        self._end()
        for bridge in self._bridges():
            bridge.stop()

    def interrupt(self) -> None:
        """Answer Ctrl-C: open tunnels may finish, until the second one."""
        self._end()
        for bridge in self._bridges():
            bridge.interrupt()

    def retire(self) -> None:
        """Take nothing new, and end with the last tunnel."""
        self._end()
        if self._present is not None and self._present.is_up:
            self._retire(self._present)
        elif self._present is not None:
            self._present.stop()

    def _retire(self, bridge: Bridge) -> None:
        if bridge.has_port_of_pt and not bridge.release_port():
            logger.warning(
                "the PT is not known to give up its port: it takes connections until "
                "the last one has ended"
            )
        self._before.add(bridge)
        bridge.retire(DRAIN)

    def figures(self, name: str) -> list[Figures]:
        """Return what the present bridge has counted, for operators."""
        return [] if self._present is None else [self._present.figures(name)]

    def report(self) -> None:
        """Write to the log how we are (SIGUSR1)."""
        if self._present is not None:
            self._present.report()
        else:
            log.report("status: it has failed, and is started again soon")
        for bridge in self._before:
            bridge.report()
