"""A client's checks: from its options to a byte that comes back."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import TYPE_CHECKING

from pt_bridge.doctor import answer_check
from pt_bridge.doctor.answer_check import ANSWER_LIMIT
from pt_bridge.doctor.checks import Checks
from pt_bridge.doctor.direct_connection import (
    HEAR_LIMIT,
    check_names,
    check_proxy,
    check_servers,
    failure,
    servers_of,
    why_not_let_in,
)
from pt_bridge.doctor.report import (
    Verdict,
    any_is_enough,
    failed,
    ok,
    unproven,
)
from pt_bridge.doctor.session_check import NoSession, SessionCheck, end_of, judge
from pt_bridge.errors import (
    NO_ANSWER,
    NO_ENTRY,
    NO_HOST,
    OPTIONS,
    UNAVAILABLE,
    ConnectRefused,
    ProtocolError,
    ProxyRefused,
    ResolverFailed,
)
from pt_bridge.explain import reasons, remedies
from pt_bridge.files import state_dir, temporary_dir
from pt_bridge.net.connect import DIAL_LIMIT
from pt_bridge.net.resolve import Resolver
from pt_bridge.options.option_values import ALWAYS, NEVER
from pt_bridge.options.transports import COPYING, goes_by_url, side_of
from pt_bridge.protocol.frames import ID_SIZE, Accepted
from pt_bridge.pt.client import ProxyUrl, PtClient

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pt_bridge.doctor.checks import Check
    from pt_bridge.doctor.report import CheckResult
    from pt_bridge.doctor.session_check import Answer
    from pt_bridge.formats.profile import Profile
    from pt_bridge.options.config import Config
    from pt_bridge.protocol.address import Address

# How long the way to the server, or to a proxy, may take (seconds).
REACH_LIMIT = 30.0
# How long a server may say nothing to a client that opens a stream (seconds): one with
# a session says each second that it is there.
SILENCE_LIMIT = 5.0
# And where the PT answers before it has reached anything: it has yet to find its way.
LONG_SILENCE_LIMIT = 45.0
# How long the end of that stream may take, with what lyrebird needs (seconds).
END_LIMIT = 10.0
# A connection that ended at once may have been bad luck: on how many a session is
# looked for.
CONNECTIONS = 2
# A server waits 3 s for the first byte (`session.recogniser.SILENT`) and 3 s for its
# shadowsocks (`shadowsocks_behind.PATIENCE`), and cuts us then (seconds).
STAY = 7.0


class ClientChecks(Checks):
    """Those of a client."""

    needs_time = frozenset({"server", "handshake"})

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
        patience: float | None = None,
    ) -> None:
        """Create one; nothing is looked at before `results`.

        Args:
            config: what the user asks for.
            variables: our environment.
            deadline: the loop's time when all must be done.
            profile: the same as it was read, with what shadowsocks itself needs.
            flags: our own options that are no plugin options, as a command line has
                them.
            through: whom to ask for an answer through shadowsocks, or None.
            stay: how long a plain connection is watched, in seconds.
            patience: how long the server may say nothing to a stream, in seconds; by
                itself as long as the transport needs.
        """
        super().__init__(config, variables, deadline=deadline)
        self._profile = profile
        self._flags = flags
        self._through = through
        self._stay = stay
        self._patience = patience or (
            SILENCE_LIMIT if self._is_let_in else LONG_SILENCE_LIMIT
        )
        self._state = ""
        self._reached: list[Address] = []
        self._remote = config.remotes[0]
        self._plain: socket.socket | None = None
        self._has_session = False
        self._unproven = ""
        self._run = contextlib.AsyncExitStack()
        self._client: PtClient

    def _checks(self) -> Sequence[tuple[str, Check, int]]:
        before = [
            ("program", self._check_program, OPTIONS),
            ("plugin", self._check_plugin_program, OPTIONS),
            ("state", self._check_state, OPTIONS),
        ]
        start = [
            ("plugin", lambda: self._check_outer_plugin(self._remote), UNAVAILABLE),
            ("start", self._check_start, UNAVAILABLE),
            ("proxy", self._check_proxy, UNAVAILABLE),
        ]
        server = [
            ("name", self._check_names, NO_HOST),
            ("server", self._check_servers, NO_HOST),
        ]
        # Another plugin looks the name up as soon as it is started.
        is_first = self._config.via is not None
        return (
            *before,
            *(server + start if is_first else start + server),
            ("handshake", self._check_handshake, NO_ENTRY),
            ("session", self._check_session, NO_ANSWER),
            ("connection", self._check_connection, NO_ANSWER),
            ("answer", self._check_answer, NO_ANSWER),
        )

    # -- this machine ------------------------------------------------------------------

    async def _check_state(self) -> Sequence[CheckResult]:
        if self._config.state is None:
            self._state = self._stack.enter_context(
                temporary_dir.temporary(self._variables)
            )
            return [
                ok(f"a temporary folder can be made in {os.path.dirname(self._state)}")
            ]
        path, is_there = state_dir.look(
            self._config, self._variables, is_service=self.is_service
        )
        # Nothing is left behind, and nothing changed: the PT does with an empty one.
        self._state = self._stack.enter_context(
            temporary_dir.temporary(self._variables)
        )
        return [ok(f"{path} {'is there' if is_there else 'can be made'}")]

    async def _check_start(self) -> Sequence[CheckResult]:
        proxy_url = ProxyUrl(self._config.upstream_proxy, Resolver())
        client = PtClient(self._pt_setup(), proxy_url, folder=self._state)
        self._stack.push_async_exit(self._run)
        try:
            self._client = await self._run.enter_async_context(client)
        except (ProxyRefused, ResolverFailed) as error:
            if isinstance(error.__cause__, OSError):
                raise ProxyRefused(reasons.explain_proxy(error.__cause__)) from None
            raise
        self._child = client.process
        self._child.take_news()
        launch = client.launch
        offers = f"{launch.name_and_version} offers {launch.transport}"
        return [ok(f"{offers} ({launch.methods[launch.transport].protocol})")]

    # -- the way to the server ---------------------------------------------------------

    async def _check_proxy(self) -> Sequence[CheckResult]:
        if self._config.upstream_proxy is None:
            return []
        limit = self._limit(REACH_LIMIT)
        return [await check_proxy(self._config.upstream_proxy, limit=limit)]

    async def _check_names(self) -> Sequence[CheckResult]:
        return await check_names(self._config, limit=self._limit(REACH_LIMIT))

    async def _check_servers(self) -> Sequence[CheckResult]:
        limit = self._limit(REACH_LIMIT)
        results, self._reached = await check_servers(self._config, limit=limit)
        return results

    # -- through the PT ----------------------------------------------------------------

    async def _check_handshake(self) -> Sequence[CheckResult]:
        results: list[CheckResult] = []
        # Where the PT is not asked for any of them, the first stands for all.
        remotes = self._config.remotes if self._are_asked_for else [self._remote]
        reached = [each for each in remotes if each in self._reached]
        for remote in reached or remotes:
            result = await self._shake_hands(remote)
            results.append(result)
            if not result.has_failed:
                break
            await self._see_that_the_pt_lives()
        return any_is_enough(results)

    @property
    def _is_let_in(self) -> bool:
        """Whether a PT that says so was let in by the server's."""
        return self._config.transport in COPYING

    @property
    def _are_asked_for(self) -> bool:
        return servers_of(self._config) == self._config.remotes

    async def _shake_hands(self, remote: Address) -> CheckResult:
        begun = self._loop.time()
        try:
            self._plain = await self._dial(remote)
        except (ProtocolError, OSError) as error:
            why = error
            # A plugin would answer for the PT behind it.
            is_bare = self._reached and self._config.via is None
            if is_bare and isinstance(error, (ConnectRefused, TimeoutError)):
                why = await self._why_not_let_in(remote)
            is_one = len(self._config.remotes) == 1
            return self._failure(why, "" if is_one else f"{remote}: ")
        self._remote = remote
        where = f" of {remote}" if self._are_asked_for else ""
        if not self._is_let_in:
            return ok(
                f"the PT takes connections ({self._since(begun)}), and a PT for "
                f"{self._config.transport} does before it has reached anything"
            )
        return ok(f"the PT{where} let us in ({self._since(begun)})")

    async def _dial(self, remote: Address) -> socket.socket:
        """Connect to the server through the PT."""
        plain = await self._client.dial(remote, limit=self._limit(DIAL_LIMIT))
        self._run.callback(plain.close)
        return plain

    async def _why_not_let_in(self, remote: Address) -> ProtocolError | OSError:
        """Return what our own connection tells of a failure; the PT says little."""
        side = side_of(self._config.transport, server=False)
        # Who must know a secret first gets no answer without it.
        knows_secret = side is not None and bool(side.needs)
        return await why_not_let_in(
            self._config,
            remote if remote in self._reached else self._reached[0],
            is_silent=knows_secret and not goes_by_url(self._config.transport),
            limit=self._limit(HEAR_LIMIT),
        )

    async def _see_that_the_pt_lives(self) -> None:
        """Raise how the PT has ended, if it has: then nothing else is to blame."""
        if self._client.is_ending():
            raise await self._client.wait()

    async def _connection(self) -> socket.socket:
        """Return a connection through the PT on which nothing was said yet."""
        plain, self._plain = self._plain, None
        return plain if plain is not None else await self._dial(self._remote)

    async def _check_session(self) -> Sequence[CheckResult]:
        """Open a stream, as connections of shadowsocks's are carried."""
        if self._config.session == NEVER:
            return []
        try:
            answer, seconds = await self._open_stream()
        except (ProtocolError, OSError) as error:
            return [self._failure(error)]
        self._has_session = isinstance(answer, Accepted)
        return [
            judge(
                answer,
                seconds=seconds,
                must_be_one=self._config.session == ALWAYS,
                is_let_in=self._is_let_in,
                heard=self._heard(),
            )
        ]

    async def _open_stream(self) -> tuple[Answer, str]:
        """Return what a server makes of a stream, and how long that took.

        It is tried on a second connection where the first one ended.
        """
        id = os.urandom(ID_SIZE)
        begun = self._loop.time()
        for _ in range(CONNECTIONS):
            with await self._connection() as plain:
                check = SessionCheck(plain)
                answer = await check.open(id, limit=self._limit(self._patience))
                seconds = self._since(begun)  # the end has its own time
                await check.end(limit=self._limit(END_LIMIT))
            if answer not in (NoSession.ENDED, NoSession.RESET):
                break
            await self._see_that_the_pt_lives()
        return answer, seconds

    async def _check_connection(self) -> Sequence[CheckResult]:
        """Watch a plain connection for a moment: the server may cut it."""
        if self._has_session:
            return []
        try:
            with await self._connection() as plain:
                how = await end_of(plain, limit=self._limit(self._stay))
        except (ProtocolError, OSError) as error:
            return [self._failure(error)]
        if how is not None:
            await self._see_that_the_pt_lives()
            text = reasons.explain_cut(was_reset=how is NoSession.RESET)
            return [failed(f"{text}{self._heard()}", NO_ANSWER, remedies.ADVICE_IF_CUT)]
        if not self._is_let_in:
            self._unproven = reasons.UNPROVEN_SERVER.format(
                transport=self._config.transport
            )
        elif self._is_lyrebird:
            self._unproven = reasons.UNPROVEN_SHADOWSOCKS
        return [ok(f"it stays open{', as far as one can see' * bool(self._unproven)}")]

    @property
    def _is_lyrebird(self) -> bool:
        launch = self._client.launch
        return "lyrebird" in (launch.implementation, launch.program)

    async def _check_answer(self) -> Sequence[CheckResult]:
        await self._run.aclose()  # shadowsocks's pt-bridge has its own PT
        result = await answer_check.look(
            self._profile,
            self._through,
            self._flags,
            self._variables,
            limit=self._limit(ANSWER_LIMIT),
            scrub=self.scrub,
        )
        if result.verdict is Verdict.SKIPPED and self._unproven:
            return [unproven(f"{self._unproven}; {result.text}", result.advice)]
        return [result]

    # -- sentences ---------------------------------------------------------------------

    def _since(self, begun: float) -> str:
        return f"{self._loop.time() - begun:.2f} s"

    def _failure(self, error: ProtocolError | OSError, prefix: str = "") -> CheckResult:
        return failure(
            self._config, error, prefix=prefix, heard=self._heard(), otherwise=NO_ENTRY
        )
