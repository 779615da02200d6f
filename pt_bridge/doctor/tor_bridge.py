"""A Tor bridge's checks: through the PT to the relay, and into the network.

As far as the PT lets us in, it is a client's chain. Behind that stands a tor, and only
another tor knows what that must say. So one is started for a moment, with this bridge
and nothing else, and the PT client that runs already.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pt_bridge.doctor.client import ClientChecks
from pt_bridge.doctor.report import failed, ok, skipped, warning
from pt_bridge.errors import (
    LATE,
    NO_ANSWER,
    NO_ENTRY,
    NO_HOST,
    OPTIONS,
    UNAVAILABLE,
    ProgramError,
)
from pt_bridge.explain.reasons import in_tors_words
from pt_bridge.files import temporary_dir
from pt_bridge.formats.bridge_line import BridgeLine
from pt_bridge.net import resolve
from pt_bridge.system import linux
from pt_bridge.tor import throwaway
from pt_bridge.tor.bootstrap import (
    DONE,
    HAS_CONSENSUS,
    IDENTIFIED,
    LET_IN,
    PT_TOOK_IT,
    RELAY_ANSWERED,
    Bootstrap,
    duration,
)
from pt_bridge.tor.throwaway import ThrowawayTor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pt_bridge.doctor.checks import Check
    from pt_bridge.doctor.report import CheckResult
    from pt_bridge.errors import ProtocolError
    from pt_bridge.formats.profile import Profile
    from pt_bridge.options.config import Config

# How long a relay may take to answer, and the network to be known (seconds).
RELAY_LIMIT = 40.0
NETWORK_LIMIT = 90.0
# A relay that ends connections without a word does so each time.
ENOUGH_FAILURES = 2
ASK_THE_OPERATOR = (
    "ask the bridge's operator whether tor runs there, and whether the PT was given "
    "tor's ORPort or Extended ORPort"
)


class TorBridgeChecks(ClientChecks):
    """Looks at the links between this machine and a Tor bridge."""

    def __init__(
        self,
        config: Config,
        variables: Mapping[bytes, bytes],
        *,
        deadline: float,
        profile: Profile,
        fingerprint: str | None,
        defaults: str | None = None,
    ) -> None:
        """Create one; nothing is looked at before `results`.

        Args:
            config: what the user asks for.
            variables: our environment.
            deadline: the loop's time when all must be done.
            profile: the same as it was read.
            fingerprint: the relay's, as the bridge line has it, or None.
            defaults: a file with more of a tor's configuration, or None.
        """
        super().__init__(config, variables, deadline=deadline, profile=profile)
        self._fingerprint = fingerprint
        self._defaults = defaults
        self._tor: ThrowawayTor

    def _checks(self) -> Sequence[tuple[str, Check, int]]:
        return (
            ("program", self._check_program, OPTIONS),
            ("state", self._check_state, OPTIONS),
            ("start", self._check_start, UNAVAILABLE),
            ("proxy", self._check_proxy, UNAVAILABLE),
            ("name", self._check_names, NO_HOST),
            ("server", self._check_servers, NO_HOST),
            ("handshake", self._check_handshake, NO_ENTRY),
            ("tor", self._check_tor, ProgramError.exit_code),
            ("orport", self._check_orport, NO_ANSWER),
            ("identity", self._check_identity, NO_ENTRY),
            ("clock", self._check_clock, NO_ANSWER),
            ("network", self._check_network, NO_ANSWER),
        )

    def _failure(self, error: ProtocolError | OSError, prefix: str = "") -> CheckResult:
        result = super()._failure(error, prefix)
        return replace(
            result,
            text=in_tors_words(result.text),
            advice=in_tors_words(result.advice),
        )

    async def _check_tor(self) -> Sequence[CheckResult]:
        """Start a tor that has this bridge alone."""
        path = throwaway.find(self._variables)
        if self._plain is not None:  # the relay might let one in at a time
            self._plain.close()
            self._plain = None
        method = self._client.launch.methods[self._config.transport]
        address = (await resolve.resolve(self._remote))[0]
        line = BridgeLine(
            self._config.transport,
            address,
            self._config.arguments,
            self._fingerprint,
        )
        folder = self._stack.enter_context(temporary_dir.temporary(self._variables))
        tor = ThrowawayTor(
            path,
            self._variables,
            folder,
            bridge=str(line),
            transport=self._config.transport,
            protocol=method.protocol,
            pt=method.address,
            defaults=self._defaults,
        )
        self._tor = await self._stack.enter_async_context(tor)
        return [ok(f"{path}, for a moment, with this bridge and nothing else")]

    async def _wait(
        self, is_enough: Callable[[Bootstrap], bool], limit: float
    ) -> Bootstrap:
        """Wait until tor has come so far; return how far it has come."""
        await self._tor.wait(is_enough, limit=self._limit(limit))
        return self._tor.bootstrap

    async def _check_orport(self) -> Sequence[CheckResult]:
        """See that a relay answers behind the PT."""
        now = await self._wait(
            lambda tor: (
                tor.progress >= RELAY_ANSWERED
                or (tor.progress >= LET_IN and tor.failures >= ENOUGH_FAILURES)
            ),
            RELAY_LIMIT,
        )
        if now.progress >= RELAY_ANSWERED:
            return [ok("a tor relay answers behind the PT")]
        if now.progress < PT_TOOK_IT:
            text = "tor did not get through to the PT, which had let us in"
            return [failed(f"{text}{_said(now)}{self._heard()}", UNAVAILABLE)]
        if now.progress < LET_IN:
            text = "the PT did not let tor in, although it had let us in"
            return [failed(f"{text}{_said(now)}{self._heard()}", NO_ENTRY)]
        text = "the PT let us in, and no tor relay answers behind it"
        return [failed(f"{text}{_said(now)}", NO_ANSWER, ASK_THE_OPERATOR)]

    async def _check_identity(self) -> Sequence[CheckResult]:
        """See that it is the relay whose fingerprint the line has."""
        now = await self._wait(
            lambda tor: (
                tor.progress >= IDENTIFIED
                or tor.has_wrong_identity
                or tor.failures >= ENOUGH_FAILURES
            ),
            RELAY_LIMIT,
        )
        if now.has_wrong_identity:
            return [
                failed(
                    "the relay behind the PT is another one than the bridge line's "
                    "fingerprint says",
                    NO_ENTRY,
                    "ask for the bridge line anew, or leave the fingerprint out",
                )
            ]
        if now.progress < IDENTIFIED:
            text = "the relay behind the PT does not go on with its handshake"
            return [failed(f"{text}{_said(now)}", NO_ANSWER, ASK_THE_OPERATOR)]
        if self._fingerprint is None:
            return [skipped("the bridge line has no fingerprint: any relay would do")]
        return [ok("it is the relay whose fingerprint the bridge line has")]

    async def _check_clock(self) -> Sequence[CheckResult]:
        """See that this machine's clock is right enough for tor."""
        now = await self._wait(
            lambda tor: tor.progress >= HAS_CONSENSUS or tor.skew != 0, NETWORK_LIMIT
        )
        seconds = await self._tor.clock_error(datetime.now(UTC))
        if not seconds:
            if now.progress >= HAS_CONSENSUS:
                return [ok("this machine's clock is right, or nearly")]
            return [_stuck(now)]
        way = "behind" if seconds < 0 else "ahead"
        text = f"this machine's clock is {duration(seconds)} {way}"
        advice = "set it; 'timedatectl set-ntp true' keeps it right"
        if linux.is_clock_synchronised():
            advice = "look at the time zone, too: the clock itself is kept right"
        if now.progress >= HAS_CONSENSUS or await self._tor.wait(
            lambda tor: tor.progress >= HAS_CONSENSUS, limit=1.0
        ):
            return [warning(f"{text}; tor bears it", advice)]
        return [failed(f"{text}, and tor trusts nobody then", NO_ANSWER, advice)]

    async def _check_network(self) -> Sequence[CheckResult]:
        """See that a circuit can be made."""
        now = await self._wait(lambda tor: tor.progress >= DONE, NETWORK_LIMIT)
        if now.progress < DONE:
            return [_stuck(now)]
        return [ok("tor is at 100 %: the bridge leads into the network")]


def _said(now: Bootstrap) -> str:
    """Return tor's own words, as the end of a sentence."""
    return f" ({now.problem.lower()})" if now.problem else ""


def _stuck(now: Bootstrap) -> CheckResult:
    """Describe how far tor has come, and why not farther."""
    what = now.summary.lower() or "nothing yet"
    where = f"{now.progress} % ({what})"
    return failed(
        f"the bridge lets us in, and tor stays at {where}{_said(now)}",
        LATE if not now.problem else NO_ANSWER,
        "try again later: the bridge itself may not have come into the network yet",
    )
