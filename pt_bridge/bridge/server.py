"""The server's side: the PT's connections go on to shadowsocks.

The PT listens where clients connect, or behind a front of ours
(`pt_bridge.front.front`), and brings what it has taken in to our Extended ORPort
(`pt_bridge.pt.ext_orport`). There we see whether the client speaks the session
(`pt_bridge.session.server`), and connect to shadowsocks for each stream, or for the
whole connection.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NoReturn

from pt_bridge.bridge.announcement import announce
from pt_bridge.bridge.base import Bridge
from pt_bridge.bridge.clients import Clients
from pt_bridge.bridge.dials import one_ip
from pt_bridge.bridge.shadowsocks_behind import ShadowsocksBehind
from pt_bridge.files import server_keys
from pt_bridge.front.front import Front
from pt_bridge.net.sockets import answer, reset
from pt_bridge.options.ss_variables import REMOTE_HOST
from pt_bridge.options.transports import CLOSING_ON_INTERRUPT, NAMING_CLIENTS
from pt_bridge.protocol import ext_orport
from pt_bridge.protocol.address import Address
from pt_bridge.protocol.frames import Cause
from pt_bridge.pt.running_pt import PtSetup
from pt_bridge.pt.server import PtServer
from pt_bridge.pt.supervisor import keep_running
from pt_bridge.session.server import SessionServer
from pt_bridge.session.sessions import Limits
from pt_bridge.system.log import logger
from pt_bridge.system.rate_limit import RateLimit
from pt_bridge.tor.behind import tor_behind
from pt_bridge.udp import server as udp

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from pt_bridge.bridge.base import BridgeSetup
    from pt_bridge.errors import PtExited
    from pt_bridge.front.connection import FrontedConnection
    from pt_bridge.front.pt import FrontedPt
    from pt_bridge.protocol.pt_launch import Launch
    from pt_bridge.pt.supervisor import Supervisor

LOOPBACK = "127.0.0.1"


class ServerBridge(Bridge):
    """Keeps a PT server in front of shadowsocks."""

    def __init__(self, setup: BridgeSetup) -> None:
        """Create a bridge; its sockets are those of a front, or none."""
        super().__init__(setup)
        config = setup.config
        self.has_port_of_pt = not config.front
        self._keys: dict[str, bytes] = {}
        self._clients = Clients(config, self._counts)
        self._refusals = RateLimit()
        self._tor = tor_behind(config, self._complain_of_refusal)
        self._has_plain_client = False
        self._udp = self._counts.udp = udp.UdpServer(
            self._loop,
            lambda: self._shadowsocks.address,
            budget=self._tunnels.budget,
            on_failed=self._on_datagram_failed,
        )
        self._sessions = self._server = SessionServer(
            self._loop,
            self._tunnels.pipes,
            Limits(idle=config.idle, linger=config.linger),
            self._tunnel_ended,
            reach=self._reach,
            on_plain=None if config.only_sessions else self._carry_plain,
            on_client_failed=self._on_client_failed,
            on_client_left=self._clients.leave,
            room=self._room,
            udp=self._udp if config.udp else None,
        )
        self._shadowsocks = ShadowsocksBehind(
            config,
            self._resolver,
            complain=self._complain_of_refusal,
            make_room=self._server.drop_silent,
        )
        self._fronted: FrontedPt | None = None
        self._front: Front | None = None
        if config.front:
            self._front = Front(
                self._loop,
                setup.socks,
                complain=logger.warning,
                budget=self._tunnels.budget,
                patience=config.start_timeout,
                pump=self._tunnels.pump,
                accepts_early=setup.accepts_early,
                on_stranger_ended=self._on_stranger_ended,
                drop_silent=self._server.drop_silent,
                reads_headers=config.accept_proxy,
            )

    async def _serve(self) -> NoReturn:
        self._clients.read_files()()
        self._bind = await self._pt_address()
        if self._tor is not None:
            await self._tor.find(patience=self._config.start_timeout)
            self._dials.create_task(self._tor.warn_unless_it_takes_clients())
        else:
            await self._shadowsocks.find()
        front = contextlib.nullcontext() if self._front is None else self._front
        with self._tunnels, front:
            try:
                await keep_running(self._supervisors)
            finally:
                self._cut()  # before its pipes are closed

    async def _pt_address(self) -> Address:
        """Return where the PT is to listen."""
        if self._front is not None:
            return Address(LOOPBACK, 0)
        remote = self._config.remotes[0]
        return await one_ip(self._resolver, self._config, REMOTE_HOST, remote)

    async def _carry(self, pt: Supervisor) -> PtExited:
        setup = PtSetup(
            self._config,
            self._variables,
            self._programs.find_pt,
            self._config.start_timeout,
            find_outer=self._programs.finds_outer,
            on_started=pt.on_started,
            on_outer_started=pt.on_outer_started,
            on_launch_message=self._on_launch_message,
        )
        server = PtServer(
            setup,
            bind=self._bind,
            orport=self._shadowsocks.address if self._tor is None else None,
            extended=None if self._tor is None else self._tor.handed_on,
            keys=self._keys,
            on_accepted=self._on_accepted,
        )
        async with server:
            self._announce(server)
            with contextlib.suppress(OSError):  # it was there a moment ago
                self._keys = server_keys.read(server.folder)
            where = f"serving port {self._config.remote_port}"
            self._report_ready(pt, server.launch, where)
            try:
                self._let_in(server)
                return await server.wait()
            finally:
                if self._front is not None:
                    self._front.suspend()
                self._pt_has_gone()

    def _let_in(self, server: PtServer) -> None:
        """Send the clients of our front to the PT, which is ready."""
        if self._front is None:
            return

        def on_stuck() -> None:
            via = self._config.via
            name = server.launch.program if via is None else via.name
            logger.warning("%s lives, and accepts nothing", name)
            for child in self._children():
                child.kill()

        self._fronted = self._front.open(
            server.entrance,
            server.is_ending,
            names_clients=self._names_clients,
            on_stuck=on_stuck,
        )

    def _read_again(self) -> Callable[[], None]:
        return self._clients.read_files()

    @property
    def _names_clients(self) -> bool:
        """Whether the PT names whoever has connected to us; a plugin hides them."""
        return self._config.transport in NAMING_CLIENTS and self._config.via is None

    def _on_datagram_failed(self, error: OSError) -> None:
        self._counts.failures.add(ShadowsocksBehind.NOT_TAKEN)
        self._complain_of_refusal(udp.explain(error))

    def _complain_of_refusal(self, text: str) -> None:
        self._complain(self._refusals, text)

    def _refuse_new(self) -> None:
        self._stop_accepting()

    def _stop_accepting(self) -> None:
        self._udp.end()  # what comes behind that is not carried by us
        if self._front is not None:
            self._front.stop_accepting()

    def _in_use(self) -> int:
        fronted = 0 if self._front is None else len(self._front)
        return super()._in_use() + self._sessions.connections + fronted

    @property
    def can_release_port(self) -> bool:
        """Whether the PT knows how to close the port where clients connect."""
        # A plugin that has it knows of no such wish.
        child = self._supervisors[0].process if self._config.via is None else None
        return child is not None and child.launch.program in CLOSING_ON_INTERRUPT

    def release_port(self) -> bool:
        """Have the PT close that port; whether it was told to."""
        child, can = self._supervisors[0].process, self.can_release_port
        if can and child is not None:
            child.interrupt()
        return can

    def succeed(self, other: ServerBridge) -> None:
        """Accept no stream again that another bridge of this server has accepted."""
        self._server.succeed(other._server)

    def _room(self) -> int:
        """Return how many connections beside the plain tunnels there may be."""
        return self._tunnels.budget - len(self._tunnels) - len(self._udp) // 2

    def _number_waiting(self) -> int:
        return 0 if self._front is None else self._front.number_waiting

    def _on_stranger_ended(self, has_spoken: bool) -> None:  # noqa: FBT001
        what = "the PT's handshake did not complete" if has_spoken else "not a word"
        self._on_client_failed(what)

    def _on_client_failed(self, how: str) -> None:
        """Count it, and say now and then how clients fail."""
        if self._stopping or self._pt_has_died():
            return  # they were cut, which is nothing that they did
        self._counts.failures.add(how)
        if (text := self._counts.failures.summary(self._loop.time())) is not None:
            logger.info("clients that failed: %s", text)

    def _on_accepted(self, plain: socket.socket, request: ext_orport.Request) -> None:
        """Take a connection that the PT brings."""
        client, fronted = self._client_of(request)
        if client is None and self._knows_clients:
            logger.debug("! the PT brought a client that did not come through us")
            self._deny(plain)
            return
        if (cause := self._clients.refuse_because(client)) is not None:
            self._on_client_failed(cause)
            self._deny(plain)
            return
        # Before the client's first byte can come; what goes wrong then, a session says.
        if answer(plain, ext_orport.OKAY):
            self._clients.enter(client)
            if client is not None and self._names_clients:
                self._clients.count(client)
            self._server.take(plain, client, None if fronted is None else fronted.drop)
        else:
            reset(plain)

    def _deny(self, plain: socket.socket) -> None:
        """Tell the PT to close a client's connection."""
        answer(plain, ext_orport.DENY)
        plain.close()

    @property
    def _knows_clients(self) -> bool:
        """Whether all clients come through our front, and are known by their ports.

        Who then calls the PT's own port is somebody of this machine.
        """
        return self._names_clients and self._fronted is not None

    def _client_of(
        self, request: ext_orport.Request
    ) -> tuple[Address | None, FrontedConnection | None]:
        """Return whose a connection is, and how it came, as far as anybody knows."""
        if self._config.via is not None:
            return None, None  # all that the PT knows of is the plugin
        client, fronted = request.user_address, None
        if (address := client) is not None and self._knows_clients:
            assert self._fronted is not None  # or nobody would be known
            client = self._fronted.client_of(address)
            if (fronted := self._fronted.let_in(address)) is not None:
                self._counts.handshakes.observe(self._loop.time() - fronted.began)
        return client, fronted

    def _reach(
        self,
        client: Address | None,
        on_reached: Callable[[socket.socket | Cause], None],
    ) -> None:
        """Connect to shadowsocks for a stream of a client's."""

        def done(got: socket.socket | Cause | None) -> None:
            on_reached(Cause.UNREACHABLE if got is None else got)

        self._dials.start(self._connect_behind(client), done)

    async def _connect_behind(self, client: Address | None) -> socket.socket | Cause:
        behind = self._shadowsocks if self._tor is None else self._tor
        got = await behind.connect(client)
        if isinstance(got, Cause):
            self._counts.refuse(behind.NOT_TAKEN)
        return got

    def _carry_plain(
        self,
        plain: socket.socket,
        first: bytes,
        local: socket.socket | None,
        client: Address | None,
    ) -> None:
        """Join a client that speaks no session with shadowsocks."""
        self._note_plain_client()

        def on_closed() -> None:
            self._clients.leave(client)

        def on_reached(got: socket.socket | Cause) -> None:
            if isinstance(got, Cause) or self._stopping or self._pt_has_died():
                reset(plain)  # its client must not take that for an empty answer
                if not isinstance(got, Cause):
                    reset(got)
                on_closed()
            else:
                self._tunnels.join(
                    got,
                    plain,
                    self._pt_has_died,
                    first_inbound=first,
                    on_closed=on_closed,
                )

        if local is not None:
            on_reached(local)
        else:
            self._reach(client, on_reached)

    def _note_plain_client(self) -> None:
        """Warn once of what clients without a session cost with lyrebird."""
        process = self._supervisors[0].process
        launch = process.launch if process is not None else None
        # tor's clients end what they have begun.
        if self._has_plain_client or launch is None or self._tor is not None:
            return
        self._has_plain_client = True
        if "lyrebird" in (launch.implementation, launch.program):
            logger.warning(
                "a client without a session has come: lyrebird does not pass on that a "
                "connection was closed, so such clients' connections may stay open in "
                "it; give them the line in client-options.txt, which has session=1"
            )

    def _on_launch_message(self, launch: Launch) -> None:
        # At once: a line that the PT logs next may hold its secrets.
        self._scrubber.add(secrets=[value for _, value in launch.arguments])

    def _announce(self, server: PtServer) -> None:
        """Tell the operator what clients must use."""
        if self._tor is not None:
            line = self._tor.bridge_line(server.launch, self._config.remotes)
            self._tor.announce(server.folder, line)
        else:
            announce(
                self._config,
                server.folder,
                server.launch,
                is_new=server.is_new,
                is_first=not self._supervisors[0].restarts,
                via=server.via_for_clients,
            )
