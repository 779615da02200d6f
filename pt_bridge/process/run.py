"""A process that carries connections: its log, its event loop, what signals mean."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import socket
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol

from pt_bridge.bridge.base import BridgeSetup
from pt_bridge.bridge.dials import quiet_tasks
from pt_bridge.errors import BUG_TEXT, Bug, ConfigError, ListenError, TransportError
from pt_bridge.files import state_dir
from pt_bridge.process.tunnel_spec import TunnelSpec, UdpAddress
from pt_bridge.system import event_loop, log, signals
from pt_bridge.system.log import logger
from pt_bridge.udp.sockets import bind as bind_udp

if TYPE_CHECKING:
    from collections.abc import (
        AsyncIterator,
        Callable,
        Coroutine,
        Iterable,
        Mapping,
        Sequence,
    )

    from pt_bridge.bridge.base import Bridge
    from pt_bridge.metrics.figures import Figures
    from pt_bridge.options.config import Config
    from pt_bridge.process.several import ReadAgain, Run
    from pt_bridge.process.standalone import Standalone
    from pt_bridge.process.tunnel import MakeBridge
    from pt_bridge.process.tunnel_spec import Place, Sockets
    from pt_bridge.protocol.address import Address
    from pt_bridge.system.scrubber import Scrubber


class LogSettings(NamedTuple):
    """Where the log goes, and how much of it.

    Attributes:
        level: one of `own_options.LOG_LEVELS`.
        name: the transport's name, or "" where there are several.
        file: a file to log to, too, or None; relative to the state directory.
    """

    level: str
    name: str
    file: str | None


class Stoppable(Protocol):
    """What signals are for."""

    async def run(self) -> None:
        """Carry connections until `stop` is called."""

    def stop(self) -> None:
        """Answer SIGTERM."""

    def interrupt(self) -> None:
        """Answer Ctrl-C."""

    def report(self) -> None:
        """Answer SIGUSR1."""


class Reloadable(Stoppable, Protocol):
    """What signals are for, where shadowsocks has not started us."""

    def reload(self) -> None:
        """Answer SIGHUP."""

    def replace_pts(self) -> None:
        """Answer SIGUSR2."""


def run_one(
    config: Config,
    ports: Sequence[int],
    variables: Mapping[bytes, bytes],
    scrub: Scrubber,
) -> None:
    """Be one tunnel until we are told to stop.

    Args:
        config: what it is to be.
        ports: where it listens already.
        variables: our environment.
        scrub: takes secrets out of the log.

    Raises:
        ConfigError, TransportError, Bug: as `run_logged`.
    """
    make = maker(variables, scrub)
    where = config.remotes if config.server else [config.local]
    wanted = TunnelSpec(config, where)

    async def work() -> None:
        sockets = _sockets(wanted, ports)
        if config.plugin:
            await _answering_signals(make(config, sockets, True))
            return
        from pt_bridge.process.standalone import Standalone
        from pt_bridge.process.tunnel import TunnelSetup

        tunnel = Standalone(TunnelSetup(wanted, make, variables, sockets))
        port = config.remote_port if config.socks is None else config.socks.port
        name = f"{config.transport}-{port}"
        ask = partial(tunnel.figures, name)
        async with _operated(variables, tunnel, config.metrics, ask, "--metrics"):
            await _answering_signals(tunnel, reloadable=tunnel)

    names = ",".join(config.transports)
    settings = LogSettings(config.loglevel, names, config.logfile)
    run_logged(work, settings, variables, scrub)


def run_several(
    wanted: Mapping[str, TunnelSpec],
    ports: Mapping[str, Sequence[int]],
    variables: Mapping[bytes, bytes],
    scrub: Scrubber,
    settings: LogSettings,
    metrics: Address | str | None,
    read: Callable[[], ReadAgain],
) -> None:
    """Be several tunnels until we are told to stop.

    Args:
        wanted: what they are to be, by name.
        ports: by a tunnel's name, where it listens already.
        variables: our environment.
        scrub: takes secrets out of the log.
        settings: the log's.
        metrics: where the page of numbers is served, or None (`metrics.service`).
        read: reads again what they are to be.

    Raises:
        ConfigError, TransportError, Bug: as `run_logged`.
    """
    from pt_bridge.process.several import Run, without_systemd

    async def work() -> None:
        sockets = {name: _sockets(each, ports[name]) for name, each in wanted.items()}
        make = maker(without_systemd(variables), scrub)
        run = Run(wanted, make, variables, sockets, read)
        name = "[metrics] listen"
        async with _operated(variables, run, metrics, run.figures, name):
            await _answering_signals(run, reloadable=run)

    run_logged(work, settings, variables, scrub)


def _sockets(wanted: TunnelSpec, ports: Sequence[int]) -> Sockets:
    """Return the sockets of a tunnel, of which some listen already."""
    made: dict[Place, socket.socket] = {
        place: socket.socket(fileno=port)
        for place, port in zip(wanted.outer, ports, strict=True)
    }
    try:
        made |= {place: bind_udp(place.address) for place in wanted.datagrams}
    except ListenError as error:
        raise ListenError(f"{wanted.where}{error}") from None
    for sock in made.values():
        sock.setblocking(False)  # as `listen` does
    return made


def maker(variables: Mapping[bytes, bytes], scrub: Scrubber) -> MakeBridge:
    """Return what makes a bridge of the kind that a configuration asks for.

    Args:
        variables: our environment.
        scrub: learns the secrets that are made for the PTs.
    """

    def make(config: Config, sockets: Sockets, early: bool) -> Bridge:  # noqa: FBT001
        udp = [sock for at, sock in sockets.items() if isinstance(at, UdpAddress)]
        socks = [sock for sock in sockets.values() if sock not in udp]
        setup = BridgeSetup(config, variables, scrub, socks, early)
        if config.server:
            from pt_bridge.bridge.server import ServerBridge

            return ServerBridge(setup)
        if config.socks is not None:
            from pt_bridge.bridge.socks import SocksBridge

            return SocksBridge(setup)
        from pt_bridge.bridge.client import ClientBridge

        return ClientBridge(setup, udp=udp)

    return make


def run_logged(
    work: Callable[[], Coroutine[None, None, None]],
    settings: LogSettings,
    variables: Mapping[bytes, bytes],
    scrub: Scrubber,
) -> None:
    """Run something in an event loop, with a log.

    Raises:
        ConfigError: the log cannot be written, or what `work` raised.
        TransportError: what `work` raised.
        Bug: it raised something else, which the log has told.
    """
    has_bug = False
    log.start(settings.level, settings.name, scrub)
    try:
        if settings.file is not None:
            path = settings.file
            if not os.path.isabs(path):
                path = state_dir.file_below(path, variables)
            log.add_file(path, settings.name, scrub)
        with asyncio.Runner(loop_factory=event_loop.create) as runner:
            runner.run(work())
    except (ConfigError, TransportError) as error:
        log.tell_files(str(error), logging.ERROR)  # stderr has it as the last line
        raise
    except Exception:
        logger.exception("a bug in pt-bridge")
        has_bug = True
    finally:
        # Our end takes a moment.
        signals.stop_at_once()
        signals.let_in()
        log.stop()
    if has_bug:  # and nothing of it is kept alive
        raise Bug(BUG_TEXT)


@contextlib.asynccontextmanager
async def _operated(
    variables: Mapping[bytes, bytes],
    what: Run | Standalone,
    metrics: Address | str | None,
    ask: Callable[[], Iterable[Figures]],
    name: str,
) -> AsyncIterator[None]:
    """Serve numbers, and hand over to another pt-bridge where that was upgraded."""
    from pt_bridge.process.handover import Handover
    from pt_bridge.process.numbers import Numbers

    async with (
        quiet_tasks() as tasks,
        Numbers(metrics, ask, spawn=tasks.create_task, name=name) as numbers,
    ):
        handover = Handover(
            variables,
            what.all_sockets,
            what.retire,
            numbers.end,
            spawn=tasks.create_task,
        )
        what.before_reload = handover.begin_if_due
        try:
            yield
        finally:
            handover.stop()


async def _answering_signals(
    stoppable: Stoppable, *, reloadable: Reloadable | None = None
) -> None:
    """Run something, and have it answer the signals that we get."""
    # All that was imported stays: it need not be looked at again.
    gc.freeze()
    gc.enable()
    loop = asyncio.get_running_loop()
    for number in signals.stopping():
        answer = stoppable.stop
        if number == signals.INTERRUPT:
            answer = stoppable.interrupt
        elif number == signals.RELOAD and reloadable is not None:
            answer = reloadable.reload
        loop.add_signal_handler(number, answer)
    loop.add_signal_handler(signals.REPORT, stoppable.report)
    if reloadable is not None:
        if signals.RELOAD not in signals.stopping():
            logger.info("SIGHUP is ignored, as nohup has it: nothing is read again")
        loop.add_signal_handler(signals.REPLACE, reloadable.replace_pts)
    signals.let_in()  # SIGHUP, which may have come as we started
    try:
        await stoppable.run()
    finally:
        # The loop takes its handlers with it; a second stop waits until we have others.
        signals.hold_back()
