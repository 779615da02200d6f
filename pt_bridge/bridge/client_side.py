"""What carries the connections of a port of ours through a PT client.

`ClientSide` is what a client of shadowsocks's (`pt_bridge.bridge.client`) and a PT for
tor (`pt_bridge.bridge.socks`) have in common: the port, the PT clients behind it, and
what is made of connections that succeed or fail.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NoReturn

from pt_bridge.bridge.base import Bridge
from pt_bridge.errors import ConnectRefused
from pt_bridge.explain import reasons
from pt_bridge.listen.listener import Listener
from pt_bridge.pt.client import ProxyUrl, PtClient
from pt_bridge.pt.running_clients import RunningClients
from pt_bridge.pt.running_pt import PtSetup
from pt_bridge.pt.supervisor import keep_running
from pt_bridge.status.failures import cause_of
from pt_bridge.system import linux
from pt_bridge.system.log import logger
from pt_bridge.system.rate_limit import RateLimit

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from pt_bridge.bridge.base import BridgeSetup
    from pt_bridge.errors import ProtocolError, PtExited
    from pt_bridge.pt.supervisor import Supervisor


class ClientSide(Bridge):
    """A bridge with a port of its own, and PT clients; a subclass dials.

    What is dialled in vain is told of with `_on_dial_failed`.
    """

    # What the port is, as the log says when the PT is ready.
    PORT = "listening on port"
    # What else to say where a connection failed.
    _more_to_say = ""

    def __init__(
        self, setup: BridgeSetup, *, on_full: Callable[[], bool] | None = None
    ) -> None:
        """Create a bridge; for `on_full`, see `Listener`."""
        super().__init__(setup)
        config = setup.config
        self._listener = Listener(
            self._loop,
            setup.socks,
            self._deliver,
            logger.warning,
            budget=self._tunnels.budget,
            patience=config.start_timeout,
            on_full=on_full,
            accepts_early=setup.accepts_early,
        )
        self._failures = RateLimit()
        self._running = RunningClients(self._loop)
        self._has_proxy = config.upstream_proxy is not None
        self._proxy_url = ProxyUrl(
            config.upstream_proxy, self._resolver, patience=config.start_timeout
        )

    async def _serve(self) -> NoReturn:
        with self._listener, self._tunnels, self._datagrams():
            self._supervisors = [
                self._supervise(transports)
                for transports in self._programs.by_program()
            ]
            try:
                await keep_running(self._supervisors)
            finally:
                self._cut()  # before its pipes are closed

    def _datagrams(self) -> contextlib.AbstractContextManager[object]:
        """Return the block in which datagrams are carried, if they are."""
        return contextlib.nullcontext()

    async def _carry(self, pt: Supervisor) -> PtExited:
        setup = PtSetup(
            self._config,
            self._variables,
            lambda: self._programs.find_pt(pt.transports[0]),
            self._config.start_timeout,
            find_outer=self._programs.finds_outer,
            on_started=pt.on_started,
            on_outer_started=pt.on_outer_started,
        )
        client = PtClient(
            setup,
            self._proxy_url,
            transports=pt.transports,
            resolver=self._resolver,
        )
        async with client:
            where = f"{self.PORT} {self._config.local.port}"
            if len(self._supervisors) > 1:
                where += f", for {' and '.join(pt.transports)}"
            self._report_ready(pt, client.launch, where)
            is_first = not self._running
            self._running.add(client, spawn=self._dials.create_task)
            try:
                if is_first:
                    self._let_in()
                return await client.wait()
            finally:
                self._running.remove(client)
                if self._running:
                    self._tunnels.pt_died(client.is_ending)
                else:  # who had not yet begun waits for the next PT
                    self._listener.suspend()
                    self._pt_has_gone()

    def _let_in(self) -> None:
        """Deliver connections: the PT is ready."""
        self._listener.open()

    def _deliver(self, local: socket.socket) -> None:
        """Carry a connection that is due."""
        raise NotImplementedError

    def _pt_has_died(self) -> bool:
        """Whether no PT runs, so that what fails is nobody's fault."""
        return self._running.have_died()

    def _on_dial_failed(self, error: ProtocolError | OSError) -> None:
        """Count it, say why now and then, and see whether it is the PT."""
        self._counts.failures.add(cause_of(error))
        self._running.on_failed()
        clock = linux.is_clock_synchronised()
        seconds = error.seconds if isinstance(error, ConnectRefused) else None
        text = reasons.explain(
            error, proxy=self._has_proxy, clock=clock, seconds=seconds
        )
        self._complain(self._failures, self._worded(f"{text}{self._more_to_say}"))

    def _worded(self, text: str) -> str:
        """Return a sentence about a server in the words of whoever uses this port."""
        return text

    def _number_waiting(self) -> int:
        return self._listener.number_waiting

    def _refuse_new(self) -> None:
        self._listener.close()

    def _stop_accepting(self) -> None:
        self._listener.stop_accepting()

    def _tunnel_ended(self) -> None:
        self._listener.release()
        super()._tunnel_ended()
