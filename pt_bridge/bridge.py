"""One Bridge: what runs between a shadowsocks host and a PT, from start to stop.

`Bridge` is what both sides have in common: the PT, which may die and is then started
again; the host, which may end; the stop. The sides themselves are `pt_bridge.client`
and `pt_bridge.server`.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import random
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from pt_bridge import host, kernel, owner, pt
from pt_bridge.connection import reset
from pt_bridge.errors import Died, PtBridgeError, TransportError
from pt_bridge.listener import Listener
from pt_bridge.log import logger, report
from pt_bridge.manners import Manners
from pt_bridge.notify import notify
from pt_bridge.own_options import BOTH, NONE
from pt_bridge.protocol.backoff import Backoff
from pt_bridge.status import Status
from pt_bridge.tunnels import Tunnels

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence

    from pt_bridge.causes import Complaints
    from pt_bridge.child import Child
    from pt_bridge.config import Config
    from pt_bridge.protocol.launch import Launch
    from pt_bridge.wire import Wire

T = TypeVar("T")

# A stop signals us and the PT at once, and we may hear of the PT's death first: how
# long our own signal may take to come (seconds). No PT is started again before.
STOP_PATIENCE = 0.1
# How long tunnels may go on after Ctrl-C (seconds).
DRAIN_LIMIT = 10.0


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
        self._status = Status(self._loop.time())
        self._status.is_counted = config.hold != NONE
        self._hold = config.hold
        self._tunnels = Tunnels(self._loop, config, self._tunnel_ended)
        self._dialling: set[asyncio.Task[Any]] = set()
        self._ready_since: float | None = None
        self._stopping = False
        self._interrupted = False
        self._draining: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        """Carry connections until `stop` is called.

        Raises:
            PtBridgeError: that cannot be done, or not any more.
        """
        self._main = asyncio.current_task()
        for warning in self._config.warnings:
            logger.warning("%s", warning)
        self._wanted = owner.wanted(self._config, self._variables)
        try:
            with contextlib.ExitStack() as stack:
                if self._config.plugin:
                    stack.enter_context(host.watched(self._loop, self._host_ended))
                await self._serve()
        except (asyncio.CancelledError, PtBridgeError):
            if not self._stopping:
                raise
        finally:
            if self._draining is not None:
                self._draining.cancel()
        logger.info("stopped")

    def stop(self) -> None:
        """End everything, the PT first and at once; a second call kills the PT."""
        is_first, self._stopping = not self._stopping, True
        if self._child is not None:
            if is_first:
                self._child.end()
            else:
                self._child.kill()
        if self._main is not None and is_first:
            self._main.cancel()
            self._tell_systemd("STOPPING=1")

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

    def report(self) -> None:
        """Write to the log how we are (SIGUSR1)."""
        child = self._child
        self._status.open = len(self._tunnels)
        self._status.opened = self._tunnels.opened
        self._status.moved = self._tunnels.moved
        lines = self._status.lines(
            now=self._loop.time(),
            pid=0 if child is None or child.is_ending() else child.pid,
            program="" if child is None else child.launch.name_and_version,
        )
        for line in lines:
            report(f"status: {line}")

    def _host_ended(self) -> None:
        if not self._stopping:
            logger.info("the host that started pt-bridge has ended")
            self.stop()

    def _tell_systemd(self, state: str) -> None:
        # Under a host, the socket is the host's own (conformance HQ-07).
        if not self._config.plugin:
            notify(self._variables, state)

    async def _serve(self) -> NoReturn:
        """Be this side of the bridge until the PT ends for good, which is an error."""
        raise NotImplementedError

    async def _carry(self) -> Died:
        """Run one PT, and carry connections through it until it dies."""
        raise NotImplementedError

    def _refuse_new(self) -> None:
        """Let no more connections in."""

    def _open_tunnels(self) -> int:
        return len(self._tunnels) + len(self._dialling)

    def _start_dialling(
        self,
        group: asyncio.TaskGroup,
        dialling: Coroutine[None, None, T | None],
        dialled: Callable[[T | None], None],
    ) -> None:
        """Reach the other side for a connection.

        Args:
            group: what waits for the task's end.
            dialling: gives what was reached, or None.
            dialled: gets that, in any case.
        """
        task = group.create_task(_or_none(dialling))
        self._dialling.add(task)

        # Not in the task itself: one that is cancelled before it begins runs nothing.
        def ended(task: asyncio.Task[T | None]) -> None:
            self._dialling.discard(task)
            dialled(None if task.cancelled() else task.result())
            self._a_tunnel_ended()

        task.add_done_callback(ended)

    def _join(
        self, near: socket.socket, plain: socket.socket, wire: Wire | None
    ) -> None:
        """Make a tunnel of a connection to the host and what is held of the PT."""
        if wire is None:
            self._tunnels.join(near, plain, self._manners.is_ending)
        else:
            self._tunnels.join_held(near, plain, wire, self._manners)

    def _tunnel_ended(self) -> None:
        self._a_tunnel_ended()

    def _cut(self) -> None:
        """Reset what goes through the PT, and let nothing more through."""
        for task in self._dialling:
            task.cancel()
        if self._stopping:
            self._tunnels.cut()
        else:
            self._tunnels.pt_died()

    def _pt_has_died(self) -> bool:
        return self._child is not None and self._child.is_ending()

    def _complain(self, complaints: Complaints, text: str) -> None:
        """Log what is wrong with a connection, now and then."""
        complaint = complaints.admit(text, self._loop.time())
        if complaint is not None:
            logger.warning("%s", complaint)

    async def _keep_carrying(self) -> NoReturn:
        """Run one PT after the other, as long as they do not die too often.

        Raises:
            PtBridgeError: one could not be started, or died once too often.
        """
        backoff = Backoff(self._config.restarts)
        has_been_ready = False
        while True:
            self._ready_since = None
            failure: PtBridgeError
            try:
                failure = await self._carry()
            except PtBridgeError as error:
                if not (has_been_ready and error.may_pass):
                    raise
                failure = error
            has_been_ready = True
            lived = 0.0
            if self._ready_since is not None:
                lived = self._loop.time() - self._ready_since
            wait = backoff.after_death(lived=lived, chance=random.random())  # noqa: S311
            await asyncio.sleep(STOP_PATIENCE)
            if wait is None:
                raise _for_good(failure, backoff.deaths, self._config.restarts)
            logger.warning(
                "%s; starting the PT again in %.1f s (%d of %d)",
                failure,
                wait,
                backoff.deaths,
                self._config.restarts,
            )
            await asyncio.sleep(wait - STOP_PATIENCE)
            self._status.restarts += 1

    @contextlib.asynccontextmanager
    async def _pt(
        self, variables: dict[bytes, bytes], descriptors: Sequence[int] = ()
    ) -> AsyncIterator[Child]:
        """Run the PT, with these TOR_PT_* variables, for as long as the block lasts."""
        found = pt.find(self._wanted, self._variables)
        logger.info("starting %s", found)
        child = found.child(
            self._config, variables, learn=self._learn, descriptors=descriptors
        )
        async with child as self._child:
            self._manners = Manners(
                is_ending=child.is_ending,
                is_asleep=functools.partial(kernel.is_asleep, child.pid),
                cpu_time=functools.partial(kernel.cpu_time, child.pid),
            )
            yield self._child

    def _learn(self, launch: Launch) -> None:
        """Take note of what the PT has said of its start so far."""

    def _report_ready(self, launch: Launch, where: str) -> None:
        self._ready_since = self._loop.time()
        logger.info("ready: %s, %s", launch.program, where)
        if self._status.restarts:
            return
        self._tell_systemd("READY=1")
        is_lyrebird = "lyrebird" in (launch.implementation, launch.program)
        if is_lyrebird and self._hold != BOTH:
            logger.warning(
                "lyrebird does not pass on that a connection was closed: an answer "
                "that ends by closing may seem to hang; obfs4proxy does pass it on"
            )


class ListeningBridge(Bridge):
    """One that takes connections in itself, and keeps them while there is no PT."""

    _listener: Listener

    def _listen(self, socks: Sequence[socket.socket]) -> None:
        self._listener = Listener(
            self._loop,
            socks,
            self._deliver,
            logger.warning,
            budget=self._tunnels.budget,
            patience=self._config.start_timeout,
        )

    def _deliver(self, sock: socket.socket) -> None:
        """Carry a connection that is due."""
        raise NotImplementedError

    def _was_not_carried(self, sock: socket.socket) -> None:
        """Let a connection wait for the next PT, or let it go."""
        if self._pt_has_died() and not self._stopping:
            self._listener.park()  # we are not told of the death yet, perhaps
            self._listener.take_back(sock)
        else:
            reset(sock)
            self._listener.release()

    def _cut(self) -> None:
        # Who had not yet begun waits for the next PT.
        self._listener.park()
        super()._cut()

    def _refuse_new(self) -> None:
        self._listener.close()

    def _tunnel_ended(self) -> None:
        self._listener.release()
        super()._tunnel_ended()


async def _or_none(dialling: Coroutine[None, None, T | None]) -> T | None:
    """Let a bug end one connection and no more."""
    try:
        return await dialling
    except Exception:
        logger.exception("a bug ended a connection")
        return None


def _for_good(failure: PtBridgeError, deaths: int, restarts: int) -> PtBridgeError:
    """Make the error for a PT that is not started again."""
    if not isinstance(failure, TransportError):
        return failure
    if restarts:
        more = (
            f"it failed {deaths} times without a quiet minute between: look at what it "
            f"wrote, or raise restarts= (now {restarts})"
        )
    else:
        more = "restarts=0, so pt-bridge ends with it"
    return type(failure)(f"{failure}; {more}", failure.reason)
