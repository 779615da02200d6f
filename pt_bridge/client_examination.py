"""Walk a client's chain: from its options to a byte that comes back."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from typing import TYPE_CHECKING

from pt_bridge import arguments, causes, kernel, resolver, ss_local, state
from pt_bridge.diagnosis import (
    NO_ANSWER,
    NO_ENTRY,
    NO_HOST,
    OPTIONS,
    UNAVAILABLE,
    any_is_enough,
    exit_code,
    failed,
    ok,
    skipped,
    warning,
)
from pt_bridge.dial import DIAL_LIMIT, connect, unreached, unresolved
from pt_bridge.dialler import Dialler, reach_server
from pt_bridge.errors import CutAtOnce, DidNotStart, ProtocolError, ProxyRefused
from pt_bridge.examination import Examination
from pt_bridge.own_options import BOTH, PLAIN
from pt_bridge.port import explain
from pt_bridge.protocol import environment
from pt_bridge.socks_proxy import SocksProxy
from pt_bridge.ss_local import SsLocal
from pt_bridge.transports import BY_ADDR, BY_TARGET, side_of
from pt_bridge.upstream import SOCKS4
from pt_bridge.wire import Outcome, Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pt_bridge.config import Config
    from pt_bridge.diagnosis import Step
    from pt_bridge.examination import Look
    from pt_bridge.held_dial import Ends
    from pt_bridge.protocol.address import Address
    from pt_bridge.protocol.profile import Profile

# How long the way to the server, or to a proxy, may take (seconds).
REACH_LIMIT = 30.0
# A server waits 3 s for its shadowsocks, and cuts us then (`server.HOST_PATIENCE`).
STAY = 4.0
# How long an answer may take that comes through everything (seconds).
ANSWER_LIMIT = 20.0


class ClientExamination(Examination):
    """Looks at the links of a client's chain."""

    def __init__(
        self,
        config: Config,
        variables: Mapping[bytes, bytes],
        *,
        deadline: float,
        profile: Profile,
        flags: Sequence[str] = (),
        through: Address | None = None,
        stay: float = STAY,
    ) -> None:
        """Make one; nothing is looked at before `steps`.

        Args:
            config: what the user asks for.
            variables: our environment.
            deadline: the loop's time when all must be done.
            profile: the same as it was read, with what shadowsocks itself needs.
            flags: our own options that are no plugin options, as a command line has
                them.
            through: whom to ask for an answer through shadowsocks, or None.
            stay: how long a connection is watched, in seconds.
        """
        super().__init__(config, variables, deadline=deadline)
        self._profile = profile
        self._flags = flags
        self._through = through
        self._stay = stay
        self._hold = config.hold
        self._state = ""
        self._proxy: SocksProxy | None = None
        self._reached: list[Address] = []
        self._ends: Ends | None = None
        self._cut: CutAtOnce | None = None
        self._wire_has_ended = asyncio.Event()
        self._run = contextlib.AsyncExitStack()

    def _links(self) -> Sequence[tuple[str, Look, int]]:
        return (
            ("program", self._look_for_program, OPTIONS),
            ("state", self._look_at_state, OPTIONS),
            ("start", self._look_at_start, UNAVAILABLE),
            ("proxy", self._look_at_proxy, UNAVAILABLE),
            ("name", self._look_at_names, NO_HOST),
            ("server", self._look_at_servers, NO_HOST),
            ("handshake", self._look_at_handshake, NO_ENTRY),
            ("connection", self._look_at_connection, NO_ANSWER),
            ("answer", self._look_for_answer, NO_ANSWER),
        )

    # -- this machine ------------------------------------------------------------------

    async def _look_at_state(self) -> Sequence[Step]:
        if self._config.state is None:
            self._state = self._stack.enter_context(state.temporary(self._variables))
            return [
                ok(f"a temporary folder can be made in {os.path.dirname(self._state)}")
            ]
        path, is_there = state.look(self._config, self._variables)
        # Nothing is left behind, and nothing changed: the PT does with an empty one.
        self._state = self._stack.enter_context(state.temporary(self._variables))
        return [ok(f"{path} {'is there' if is_there else 'can be made'}")]

    async def _look_at_start(self) -> Sequence[Step]:
        steps = []
        try:
            await self._start()
        except ProxyRefused as error:
            if self._hold != BOTH or self._config.upstream_proxy is not None:
                raise
            self._hold = PLAIN
            steps.append(warning(causes.explain_plain(error)))
            await self._start()
        assert self._child is not None  # it has been started
        launch = self._child.launch
        offers = f"{launch.name_and_version} offers {launch.transport}"
        self._words.take()
        return [*steps, ok(f"{offers} ({launch.protocol}, hold={self._hold})")]

    async def _start(self) -> None:
        """Start the PT, or leave nothing of it."""
        async with contextlib.AsyncExitStack() as stack:
            proxy = None
            if self._hold == BOTH:
                try:
                    proxy = SocksProxy(self._loop)
                except OSError as error:
                    raise explain(error.errno or 0, 0) from None
                stack.enter_context(proxy)
            variables = environment.client(
                self._config.transport,
                state=os.fsencode(self._state),
                proxy=await self._proxy_url(proxy),
            )
            child = self._pt.child(self._config, variables)
            await stack.enter_async_context(child)
            await child.ready(self._limit(self._config.start_timeout))
            if proxy is not None and child.launch.protocol == "socks4":
                raise ProxyRefused(f"{child.launch.program} speaks SOCKS4")
            self._proxy, self._child = proxy, child
            self._run = stack.pop_all()
        self._stack.push_async_exit(self._run)

    async def _proxy_url(self, own: SocksProxy | None) -> str | None:
        if own is not None:
            return own.url
        proxy = self._config.upstream_proxy
        if proxy is None:
            return None
        try:
            found = await resolver.resolve(proxy.address)
        except OSError as error:
            raise ProxyRefused(causes.explain_proxy(error)) from None
        return proxy.url(found[0].host)

    # -- the way to the server ---------------------------------------------------------

    async def _look_at_proxy(self) -> Sequence[Step]:
        proxy = self._config.upstream_proxy
        if proxy is None:
            return []
        try:
            async with asyncio.timeout(self._limit(REACH_LIMIT)):
                found = await resolver.resolve(proxy.address)
                sock = await connect(found[0], patience=0, limit=REACH_LIMIT)
        except OSError as error:
            return [failed(causes.explain_proxy(error), UNAVAILABLE)]
        sock.close()
        return [ok(f"{proxy.scheme}://{proxy.address} takes connections")]

    def _servers(self) -> Sequence[Address]:
        """Give what the PT, or we for it, will connect to; () where only it knows."""
        side = side_of(self._config.transport, server=False)
        held = side.held if side is not None else ""
        if held == BY_TARGET:
            return self._config.remotes
        named = arguments.address(self._config.arguments) if held == BY_ADDR else None
        return () if named is None else [named]

    async def _look_at_names(self) -> Sequence[Step]:
        names = [each for each in self._servers() if each.ip is None]
        proxy = self._config.upstream_proxy
        if not names:
            return []
        if proxy is not None and proxy.scheme != SOCKS4:
            return [skipped("the upstream proxy is asked for the server's name")]
        steps = await asyncio.gather(*map(self._look_at_name, names))
        return any_is_enough(steps, others=len(names) < len(self._servers()))

    async def _look_at_name(self, remote: Address) -> Step:
        try:
            async with asyncio.timeout(self._limit(REACH_LIMIT)):
                found = await resolver.resolve(remote)
        except OSError as error:
            return self._failure(unresolved(error), f"{remote.host}: ")
        return ok(f"{remote.host} is {', '.join(each.host for each in found)}")

    async def _look_at_servers(self) -> Sequence[Step]:
        servers = self._servers()
        if not servers:
            transport = self._config.transport
            return [skipped(f"{transport} finds its way to the server by itself")]
        steps = await asyncio.gather(*map(self._look_at_server, servers))
        return any_is_enough(steps)

    async def _look_at_server(self, remote: Address) -> Step:
        begun = self._loop.time()
        try:
            async with asyncio.timeout(self._limit(REACH_LIMIT)):
                sock = await reach_server(self._config, remote)
        except TimeoutError:
            return self._failure(unreached(errno.ETIMEDOUT), f"{remote}: ")
        except (ProtocolError, OSError) as error:
            return self._failure(error, f"{remote}: ", NO_HOST)
        sock.close()
        self._reached.append(remote)
        return ok(f"{remote} takes connections ({self._since(begun)})")

    # -- through the PT ----------------------------------------------------------------

    async def _look_at_handshake(self) -> Sequence[Step]:
        steps: list[Step] = []
        servers = [each for each in self._config.servers if each in self._reached]
        for remote in servers or self._config.servers:
            step = await self._shake_hands(remote)
            steps.append(step)
            if not step.has_failed:
                break
            if self._child is not None and self._child.is_ending():
                raise await self._child.exited()
        return any_is_enough(steps)

    async def _shake_hands(self, remote: Address) -> Step:
        assert self._child is not None  # it has been started
        dialler = Dialler(
            self._config, self._child.launch, self._proxy, self._make_wire
        )
        begun = self._loop.time()
        try:
            limit = self._limit(DIAL_LIMIT)
            self._ends = await dialler.dial(remote, limit=limit)
            self._run.callback(self._ends.drop)
        except CutAtOnce as error:
            self._cut = error
        except (ProtocolError, OSError) as error:
            return self._failure(error, f"{remote}: " if self._several else "")
        where = f" of {remote}" if self._servers() else ""
        return ok(f"the PT{where} let us in ({self._since(begun)})")

    def _make_wire(
        self, leg: socket.socket, net: socket.socket, ended: Callable[[Wire], None]
    ) -> Wire:
        def has_ended(wire: Wire) -> None:
            self._wire_has_ended.set()
            ended(wire)

        assert self._child is not None  # it has been started
        return Wire(self._loop, leg, net, has_ended, pt_is_ending=self._child.is_ending)

    async def _look_at_connection(self) -> Sequence[Step]:
        """Watch the connection for a moment: the server may cut it."""
        if self._cut is not None:
            return [self._cut_at_once(was_reset=self._cut.was_reset)]
        assert self._ends is not None  # hands have been shaken
        plain = self._ends.plain
        self._loop.add_reader(plain.fileno(), self._wire_has_ended.set)
        try:
            async with asyncio.timeout(self._limit(self._stay)):
                await self._wire_has_ended.wait()
        except TimeoutError:
            pass
        finally:
            self._loop.remove_reader(plain.fileno())
        how = _end_of(self._ends)
        if how is None and self._ends.wire is None and self._is_lyrebird:
            return [
                ok(
                    "it stays open, as far as one can see: lyrebird does not pass on "
                    "that a connection was closed (without hold=plain one sees more)"
                )
            ]
        if how is None:
            return [ok("it stays open")]
        return [self._cut_at_once(was_reset=how == "reset")]

    @property
    def _is_lyrebird(self) -> bool:
        assert self._child is not None  # it has been started
        launch = self._child.launch
        return "lyrebird" in (launch.implementation, launch.program)

    def _cut_at_once(self, *, was_reset: bool) -> Step:
        text = causes.explain_cut(was_reset=was_reset)
        return failed(f"{text}{self._heard()}", NO_ANSWER, causes.ADVICE_IF_CUT)

    async def _look_for_answer(self) -> Sequence[Step]:
        await self._run.aclose()  # shadowsocks's pt-bridge has its own PT
        profile = self._profile
        if profile.method is None or profile.password is None:
            return [
                skipped(
                    "no request was sent through shadowsocks: that takes its whole "
                    "configuration",
                    "give doctor the config.json or the ss:// link, and --through "
                    "HOST:PORT",
                )
            ]
        if self._through is None:
            return [
                skipped(
                    "no request was sent through shadowsocks",
                    "add --through HOST:PORT, a web server that the server can reach",
                )
            ]
        program = ss_local.find(self._variables)
        if program is None:
            return [
                skipped(
                    "there is no ss-local on this machine to send a request through",
                    "install it (Debian: apt install shadowsocks-libev)",
                )
            ]
        host = SsLocal(program, profile, self._flags, self._variables)
        begun = self._loop.time()
        try:
            async with asyncio.timeout(self._limit(ANSWER_LIMIT)), host:
                first = await host.ask(self._through)
        except DidNotStart as error:
            return [failed(str(error), NO_ANSWER)]
        except (ProtocolError, OSError) as error:
            why = "no answer in time" if isinstance(error, TimeoutError) else str(error)
            first = b""
        else:
            why = "the connection was closed"
        if first:
            line = first.partition(b"\r\n")[0].decode("utf-8", "backslashreplace")
            return [ok(f"{self._through}: {line[:80]} ({self._since(begun)})")]
        words = f"; {host.complaint}" if host.complaint else ""
        text = f"{causes.explain_no_answer(why)}{words}"
        return [failed(text, NO_ANSWER, causes.ADVICE_IF_NO_ANSWER)]

    # -- sentences ---------------------------------------------------------------------

    @property
    def _several(self) -> bool:
        return len(self._config.servers) > 1

    def _since(self, begun: float) -> str:
        return f"{self._loop.time() - begun:.2f} s"

    def _failure(
        self,
        error: ProtocolError | OSError,
        prefix: str = "",
        otherwise: int = NO_ENTRY,
    ) -> Step:
        proxy = self._config.upstream_proxy is not None
        clock = kernel.is_clock_synchronised()
        return failed(
            f"{prefix}{causes.explain(error, proxy=proxy, clock=clock)}{self._heard()}",
            exit_code(error, otherwise),
            causes.advise(error, proxy=proxy, clock=clock),
        )


def _end_of(ends: Ends) -> str | None:
    """Tell how a connection has ended, if it has: it was ``reset`` or ``closed``."""
    wire = ends.wire
    if wire is not None:
        if wire.outcome is Outcome.NET_RESET:
            return "reset"
        if wire.outcome is not Outcome.OPEN or wire.net_has_ended:
            return "closed"
    try:
        # What has come is a sign of life, whatever it is.
        return None if ends.plain.recv(1, socket.MSG_PEEK) else "closed"
    except BlockingIOError:
        return None
    except OSError:
        return "reset"
