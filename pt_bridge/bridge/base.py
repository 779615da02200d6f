"""One Bridge: what runs between shadowsocks and a PT, from start to stop.

`Bridge` is what both sides have in common: the PT, which may die and is then started
again; shadowsocks, which may end; the stop. The sides themselves are
`pt_bridge.bridge.client` and `pt_bridge.bridge.server`.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from pt_bridge.bridge.dials import Dials
from pt_bridge.errors import PtBridgeError
from pt_bridge.net import takeover
from pt_bridge.net.resolve import Resolver
from pt_bridge.pt.programs import Programs
from pt_bridge.pt.supervisor import Supervisor
from pt_bridge.relay.tunnels import Tunnels
from pt_bridge.status import status
from pt_bridge.status.counts import Counts
from pt_bridge.system import parent
from pt_bridge.system.log import logger, report
from pt_bridge.system.systemd import notify

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping, Sequence

    from pt_bridge.errors import PtExited
    from pt_bridge.metrics.figures import Figures
    from pt_bridge.options.config import Config
    from pt_bridge.protocol.pt_launch import Launch
    from pt_bridge.session.sessions import Sessions
    from pt_bridge.system.child_process import ChildProcess
    from pt_bridge.system.rate_limit import RateLimit
    from pt_bridge.system.scrubber import Scrubber
    from pt_bridge.tor.behind import TorBehind

# How long tunnels may go on after Ctrl-C (seconds).
DRAIN_LIMIT = 10.0
# How often to look whether a bridge that was replaced has carried its last tunnel
# (seconds).
RETIRED_INTERVAL = 1.0


@dataclass(frozen=True, slots=True)
class BridgeSetup:
    """What a bridge is made of.

    Attributes:
        config: what the user asks for.
        variables: our environment.
        scrubber: learns the secrets that are made, or come with connections.
        socks: where connections come to, listening already; the bridge owns them.
        accepts_early: whether to accept before the PT is ready; not where another
            bridge still does.
    """

    config: Config
    variables: Mapping[bytes, bytes]
    scrubber: Scrubber
    socks: Sequence[socket.socket]
    accepts_early: bool


class Bridge:
    """Everything between shadowsocks and the PT; a subclass for each side.

    Attributes:
        on_ready: called, once, when its first PT is ready.
        has_port_of_pt: whether it is the PT that listens where clients connect.
    """

    _sessions: Sessions
    _tor: TorBehind | None = None
    has_port_of_pt = False

    def __init__(self, setup: BridgeSetup) -> None:
        """Create a bridge; `run` builds it up and takes it down again."""
        self._config = config = setup.config
        self._variables = setup.variables
        self._scrubber = setup.scrubber
        self._loop = asyncio.get_running_loop()
        self._resolver = Resolver()
        self._main: asyncio.Task[None] | None = None
        self._supervisors = [self._supervise(config.transports)]
        self._programs = Programs(config, setup.variables)
        self._began = self._loop.time()
        self._counts = Counts()
        self._tunnels = Tunnels(self._loop, config, self._tunnel_ended)
        self._dials = Dials(self._a_tunnel_ended)
        self._was_ready = False
        self._stopping = False
        self._interrupted = False
        self._draining: asyncio.TimerHandle | None = None
        self._retiring: asyncio.TimerHandle | None = None
        self.on_ready: Callable[[], None] | None = None

    async def run(self) -> None:
        """Carry connections until `stop` is called.

        Raises:
            PtBridgeError: that cannot be done, or not any more.
        """
        self._main = asyncio.current_task()
        if self._stopping and self._main is not None:  # before it began
            self._main.cancel()
        for warning in self._config.warnings:
            logger.warning("%s", warning)
        self._programs.read_owner_config()
        try:
            with contextlib.ExitStack() as stack:
                if self._config.plugin:
                    stack.enter_context(
                        parent.watched(self._loop, self._on_shadowsocks_ended)
                    )
                async with self._dials:
                    try:
                        await self._serve()
                    finally:
                        self._cut()
        except (asyncio.CancelledError, PtBridgeError):
            if not self._stopping:
                raise
        finally:
            for timer in (self._draining, self._retiring):
                if timer is not None:
                    timer.cancel()
        if self._retiring is None:
            logger.info("stopped")
        else:
            logger.info("the PT that was replaced has ended")

    def stop(self) -> None:
        """End everything, the PT first and at once; a second call kills the PT."""
        is_first, self._stopping = not self._stopping, True
        for child in self._children():
            if is_first:
                child.terminate()
            else:
                child.kill()
        if self._main is not None and is_first:
            self._main.cancel()
            self._tell_systemd("STOPPING=1")

    def _children(self) -> list[ChildProcess]:
        return [child for each in self._supervisors for child in each.children]

    def _supervise(self, transports: Sequence[str]) -> Supervisor:
        """Create what keeps one PT running."""
        return Supervisor(
            transports,
            self._carry,
            restarts=self._config.restarts,
            on_died=self._on_pt_died,
        )

    def interrupt(self) -> None:
        """Answer Ctrl-C.

        A host answers it itself, and then stops us or ends; without one, open tunnels
        may finish. The second one stops us in any case.
        """
        if self._interrupted or self._stopping:
            self.stop()
        elif not self._config.plugin:
            self._drain()
        self._interrupted = True

    def _read_again(self) -> Callable[[], None]:
        """Read the owner's files again; return what lets them hold.

        Raises:
            PtBridgeError: one is wrong.
        """
        return lambda: None

    def _drain(self) -> None:
        """Take nothing new, and stop when what is open has ended, or after a while."""
        self._refuse_new()
        number = self._open_tunnels()
        if not number:
            self.stop()
            return
        tunnels = "1 tunnel" if number == 1 else f"{number} tunnels"
        logger.info("finishing %s; Ctrl-C again to stop", tunnels)
        self._tell_systemd("STOPPING=1")
        self._draining = self._loop.call_later(DRAIN_LIMIT, self.stop)

    def _a_tunnel_ended(self) -> None:
        if self._draining is not None and not self._open_tunnels():
            self.stop()

    def figures(self, name: str = "") -> Figures:
        """Return what was counted, for operators.

        Args:
            name: what the owner calls this bridge.
        """
        self._counts.restarts = sum(each.restarts for each in self._supervisors)
        return self._counts.figures(
            self._config,
            self._tunnels,
            self._sessions,
            name=name,
            is_up=self.is_up,
            waiting=self._number_waiting(),
            dialling=len(self._dials),
        )

    @property
    def is_up(self) -> bool:
        """Whether a PT runs and is ready."""
        return any(
            each.ready_since is not None
            and not any(child.is_ending() for child in each.children)
            for each in self._supervisors
        )

    def retire(self, limit: float) -> None:
        """Take nothing new, since another bridge does, and end with the last tunnel.

        Args:
            limit: how long tunnels may go on, in seconds.
        """
        self._stop_accepting()
        self._sessions.retire()
        end = self._loop.time() + limit

        def look() -> None:
            if not self._in_use() or self._loop.time() >= end:
                self.stop()
            else:
                self._retiring = self._loop.call_later(RETIRED_INTERVAL, look)

        self._retiring = self._loop.call_later(0, look)

    @property
    def is_retiring(self) -> bool:
        """Whether another bridge has taken its place."""
        return self._retiring is not None

    def reload(self) -> bool:
        """Read the owner's files again; whether a PT would be another one now.

        Raises:
            PtBridgeError: a file is wrong, or none could be started; all stays.
        """
        use = self._read_again()
        is_outdated = self._programs.reload()
        use()
        return is_outdated

    @property
    def can_release_port(self) -> bool:
        """Whether the PT knows how to close the port where clients connect."""
        return False

    def release_port(self) -> bool:
        """Have the PT close that port; whether it was told to."""
        return False

    def _stop_accepting(self) -> None:
        """Close the ports; who was let in already is carried."""

    def _in_use(self) -> int:
        """Return how many connections a bridge that was replaced still carries."""
        waiting = self._number_waiting() + self._sessions.draining
        return self._open_tunnels() + waiting

    def report(self) -> None:
        """Write to the log how we are (SIGUSR1)."""
        outer = self._supervisors[0].outer  # beside which there is one PT alone
        is_only = len(self._supervisors) == 1
        lines = status.lines(
            self.figures(),
            self._counts,
            up=self._loop.time() - self._began,
            pts=[each.describe(is_only=is_only) for each in self._supervisors],
            via="" if self._config.via is None else self._config.via.name,
            via_pid=0 if outer is None or outer.is_ending() else outer.pid,
            uncounted="" if self._tor is None else self._tor.why_uncounted(),
        )
        for line in lines:
            report(f"status: {line}")

    def _on_shadowsocks_ended(self) -> None:
        if not self._stopping:
            logger.info("shadowsocks, which started pt-bridge, has ended")
            self.stop()

    def _tell_systemd(self, state: str) -> None:
        # Under shadowsocks, the socket is shadowsocks's own (HQ-07).
        # And where another pt-bridge is the service still, it is not we who are ready.
        is_other = self.is_retiring or takeover.is_going_on()
        if not (self._config.plugin or is_other):
            notify(self._variables, state)

    async def _serve(self) -> NoReturn:
        """Run this side of the bridge until the PT ends for good, which is an error."""
        raise NotImplementedError

    async def _carry(self, pt: Supervisor) -> PtExited:
        """Run one PT, and carry connections through it until it dies."""
        raise NotImplementedError

    def _refuse_new(self) -> None:
        """Accept no more connections."""

    def _number_waiting(self) -> int:
        """Return how many connections wait to be carried."""
        return 0

    def _open_tunnels(self) -> int:
        return len(self._tunnels) + len(self._dials) + len(self._sessions.streams)

    def _tunnel_ended(self) -> None:
        self._a_tunnel_ended()

    def _pt_has_gone(self) -> None:
        """Stop dialling through a PT that has died, and reset what has no end.

        Streams of a session end by themselves: what had its EOF and its bytes stands.
        """
        self._tunnels.pt_died()
        self._dials.cancel()

    def _cut(self) -> None:
        """Reset everything that is not whole."""
        self._tunnels.cut()
        self._sessions.cut()
        self._dials.cancel()

    def _pt_has_died(self) -> bool:
        """Whether the PT has died, or the plugin that carries its connections."""
        return any(child.is_ending() for child in self._children())

    def _complain(self, complaints: RateLimit, text: str) -> None:
        """Log what is wrong with a connection, now and then."""
        if (complaint := complaints.admit(text, self._loop.time())) is not None:
            logger.warning("%s", complaint)

    def _on_pt_died(self) -> None:
        if self.is_retiring:  # as obfs4proxy does after its last connection
            self.stop()

    def _report_ready(self, pt: Supervisor, launch: Launch, where: str) -> None:
        pt.on_ready()
        via = self._config.via
        where += "" if via is None else f", through {via.name}"
        logger.info("ready: %s, %s", launch.program, where)
        if not self._was_ready:
            self._was_ready = True
            self._tell_systemd("READY=1")
        on_ready, self.on_ready = self.on_ready, None
        if on_ready is not None:
            on_ready()
