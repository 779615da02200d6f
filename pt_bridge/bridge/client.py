"""The client's side: shadowsocks connects to us, we dial, a tunnel joins both."""

from __future__ import annotations

import contextlib
import errno
from functools import partial
from typing import TYPE_CHECKING

from pt_bridge.bridge.client_side import ClientSide
from pt_bridge.bridge.server_dial import ServerDial
from pt_bridge.errors import (
    SHORTAGES,
    ArgumentsRejected,
    LoginRefused,
    ProtocolError,
)
from pt_bridge.explain import reasons
from pt_bridge.net.connect import DIAL_LIMIT
from pt_bridge.net.sockets import reset
from pt_bridge.net.time_limit import TimeLimit
from pt_bridge.options.option_values import AUTO, NEVER
from pt_bridge.pool.datagram_carrier import DatagramCarrier
from pt_bridge.pool.pool import Pool
from pt_bridge.pool.preconnect import Preconnect
from pt_bridge.protocol.frames import Cause
from pt_bridge.session.sessions import Limits
from pt_bridge.status.failures import cause_of
from pt_bridge.system import linux
from pt_bridge.system.log import logger, report
from pt_bridge.system.rate_limit import RateLimit
from pt_bridge.udp.client import UdpClient
from pt_bridge.ways.addresses import Place, ServerAddresses

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from pt_bridge.bridge.base import BridgeSetup
    from pt_bridge.net.dialling import Dialling, OnConnected
    from pt_bridge.pool.spares import OnDialled
    from pt_bridge.protocol.frames import WasReset
    from pt_bridge.protocol.pt_launch import Launch
    from pt_bridge.pt.supervisor import Supervisor

# A user gives up before a PT does: when to say that there is no answer yet (seconds).
SLOW = 10.0


class ClientBridge(ClientSide):
    """Carries shadowsocks's connections through a PT client."""

    def __init__(
        self, setup: BridgeSetup, *, udp: Sequence[socket.socket] = ()
    ) -> None:
        """Create a bridge, as with `ClientSide`; shadowsocks connects to its sockets.

        `udp` is where its datagrams come, if they do; they are the bridge's, too.
        """
        super().__init__(setup)
        config = setup.config
        self._pool = self._sessions = Pool(
            self._loop,
            self._tunnels.pipes,
            Limits(idle=config.idle, linger=config.linger),
            self._tunnel_ended,
            dial=self._dial_for,
            patience=config.start_timeout,
            on_refused=self._on_refused,
            on_unaccepted=self._on_unaccepted,
            on_late=self._on_late,
            pt_is_ending=self._pt_has_died,
            carry_plain=(
                partial(self._carry_plain, is_new=False)
                if config.session == AUTO
                else None
            ),
            preconnect=Preconnect(config.preconnect),
            server_of=self._server_of,
            is_early=len(config.ways) == 1,
            local_has_closed=self._tunnels.local_has_closed,
        )
        self._addresses = ServerAddresses(
            self._loop,
            config.ways,
            self._resolver if config.upstream_proxy is None else None,
            self._is_of_address,
            why_not=self._running.why_not,
        )
        self._dial_limit = TimeLimit(self._loop, DIAL_LIMIT)
        self._slow = TimeLimit(self._loop, SLOW)
        self._udp: UdpClient | None = None
        self._udp_socks, self._accepts_early = udp, setup.accepts_early
        self._silences = RateLimit()
        self._more_to_say = reasons.ASK_DOCTOR
        if config.via is not None:
            self._more_to_say = f"{reasons.OR_THE_PLUGIN}{reasons.ASK_DOCTOR}"

    def _datagrams(self) -> contextlib.AbstractContextManager[object]:
        """Return the block in which datagrams are carried, if they are."""
        if not self._udp_socks:
            return contextlib.nullcontext()
        carrier = DatagramCarrier(
            self._loop, self._pool, self._dial_for, self._config.start_timeout
        )
        self._udp = self._counts.udp = UdpClient(
            self._loop,
            self._udp_socks,
            carrier,
            on_ended=self._a_tunnel_ended,
            is_early=self._accepts_early,
        )
        return self._udp

    def _report_ready(self, pt: Supervisor, launch: Launch, where: str) -> None:
        super()._report_ready(pt, launch, where)
        is_lyrebird = "lyrebird" in (launch.implementation, launch.program)
        if is_lyrebird and self._config.session == NEVER and not pt.restarts:
            logger.warning(
                "lyrebird does not pass on that a connection was closed: without a "
                "session (session=0) an answer that ends by closing may seem to hang; "
                "obfs4proxy does pass it on"
            )

    def _let_in(self) -> None:
        super()._let_in()
        self._pool.open()
        if self._udp is not None:
            self._udp.open()

    def _pt_has_gone(self) -> None:
        self._pool.suspend()
        super()._pt_has_gone()

    def _cut(self) -> None:
        super()._cut()
        self._dial_limit.close()
        self._slow.close()

    def _number_waiting(self) -> int:
        return super()._number_waiting() + self._pool.number_waiting

    def _refuse_new(self) -> None:
        super()._refuse_new()
        if self._udp is not None:
            self._udp.close()

    def _stop_accepting(self) -> None:
        super()._stop_accepting()
        if self._udp is not None:
            self._udp.retire()

    def _deliver(self, local: socket.socket) -> None:
        if self._config.session == NEVER:
            self._carry_plain(local)
        else:
            self._pool.carry(local)

    def _dial_for(
        self,
        local: socket.socket | None,
        on_dialled: OnDialled,
        avoid: object,
    ) -> None:
        """Dial the server for a stream, or for none yet (`pool.spares.Dial`)."""
        self._dial_server(local, on_dialled, avoid)

    def _on_refused(self, event: WasReset) -> None:
        """Log why the server did not take a connection."""
        self._counts.refuse(cause_of(event.cause))
        text = reasons.explain_refusal(event.cause)
        if event.cause is Cause.UNSUPPORTED and self._udp is not None:
            text = text if self._udp.on_unsupported() else ""
        if text:
            self._complain(self._failures, text)

    def _on_unaccepted(self) -> None:
        """Log that the server lets connections in and accepts nothing on them."""
        self._complain(self._failures, reasons.explain_unaccepted())

    def _server_of(self, way: object) -> int | None:
        """Return which server a way leads to (`Detection`)."""
        has_several = len(self._config.ways) > 1
        return way.way if isinstance(way, Place) and has_several else None

    def _on_late(self, way: object) -> None:
        """Prefer another address, where a server lets in and accepts nothing."""
        self._addresses.on_late(way)

    def report(self) -> None:
        """Write to the log how we are, and which ways lead to the server."""
        super().report()
        for line in self._addresses.lines():
            report(f"status: {line}")

    def _carry_plain(
        self,
        local: socket.socket,
        first: bytes = b"",
        *,
        way: object = None,
        plain: socket.socket | None = None,
        on_answer: Callable[[], None] | None = None,
        on_unanswered: Callable[[], None] | None = None,
        is_new: bool = True,
    ) -> None:
        """Carry a connection without a session (`detection.CarryPlain`).

        It is not new where the pool has counted it.
        """

        def on_dialled(
            got: socket.socket | Exception | None, way: object = None
        ) -> None:
            reached = None if isinstance(got, Exception) else got
            client = self._running.of(way.transport) if isinstance(way, Place) else None
            if reached is not None and client is not None:
                self._tunnels.join(
                    local,
                    reached,
                    client.is_ending,
                    first_outbound=first,
                    on_answer=on_answer,
                    on_unanswered=on_unanswered,
                    is_new=is_new,
                )
                return
            if reached is not None:
                reached.close()
            self._was_not_carried(local, may_wait=not first)
            if on_unanswered is not None:
                on_unanswered()

        only = way if isinstance(way, Place) else None
        if plain is not None:
            on_dialled(plain, only)
        else:
            self._dial_server(local, on_dialled, only=only)

    def _was_not_carried(self, local: socket.socket, *, may_wait: bool) -> None:
        """Keep a plain connection for the next PT, or reset it."""
        if may_wait and self._pt_has_died() and not self._stopping:
            self._listener.suspend()  # we are not told of the death yet, perhaps
            self._listener.take_back(local)
        else:
            reset(local)
            self._listener.release()

    def _dial_server(
        self,
        local: socket.socket | None,
        on_dialled: OnDialled,
        avoid: object = None,
        only: Place | None = None,
    ) -> None:
        """Dial the server; `on_dialled` gets the connection, or why there is none.

        None stands for a PT that has died, and may have been replaced by now.
        """
        began = self._loop.time()
        dial = ServerDial(
            *(self, local, on_dialled),
            dials=self._dials,
            began=began,
            slow=self._slow,
        )
        dial.begin(
            lambda on_reached: self._addresses.dial(
                self._dial, on_reached, avoid, only=only
            )
        )

    def judge(
        self, dial: ServerDial, got: socket.socket | Exception, way: Place
    ) -> socket.socket | Exception | None:
        """Count what has come of dialling (`ServerDialOwner`)."""
        if not isinstance(got, Exception):
            self._counts.handshakes.observe(self._loop.time() - dial.began)
            self._running.on_succeeded(way.transport)
            return got
        if not isinstance(got, (ProtocolError, OSError)):
            raise got
        logger.debug("! a connection failed: %r", got)
        if self._pt_has_died():
            return None
        self._on_dial_failed(got)
        return got

    def _is_of_address(self, place: Place, error: Exception | None) -> str | None:
        """Return what failed, where another address may do better (`ways`)."""
        self._running.on_failed(place.transport)
        if error is None:
            return cause_of(TimeoutError())
        is_any = isinstance(error, LoginRefused)
        if len(self._config.ways) == 1:
            is_any = is_any or isinstance(error, ArgumentsRejected)
        is_ours = isinstance(error, OSError) and error.errno in SHORTAGES
        if is_any or is_ours or self._pt_has_died():
            return None
        return self._running.why_not(place.transport) or cause_of(error)

    def _dial(self, place: Place, on_connected: OnConnected) -> Dialling:
        client = self._running.of(place.transport)
        if client is None:
            error = ConnectionRefusedError(errno.ECONNREFUSED, "there is no PT")
            return self._loop.call_soon(on_connected, error)
        return client.begin_dial(
            place.address,
            on_connected,
            limit=self._dial_limit,
            transport=place.transport,
            arguments=place.arguments,
        )

    def on_dial_slow(self, dial: ServerDial) -> None:
        """Log that nothing answers yet; give up if shadowsocks has closed for good."""
        if not dial.is_known_slow:
            self._running.on_failed(since=SLOW)
            clock = linux.is_clock_synchronised()
            text = reasons.explain_silence(SLOW, proxy=self._has_proxy, clock=clock)
            self._complain(self._silences, f"{text}{self._more_to_say}")
        if dial.local is not None and self._tunnels.local_is_gone(dial.local):
            dial.cancel()
