"""Run checks one after the other, up to the first that fails.

What both sides have in common; the rest is in `pt_bridge.doctor.client` and
`pt_bridge.doctor.server`. Everything that is started for a check is gone when the
block ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import math
import os
from typing import TYPE_CHECKING

from pt_bridge.doctor.report import (
    CheckResult,
    cut_short,
    exit_code,
    failed,
    ok,
    waiting,
    warning,
)
from pt_bridge.errors import LATE, ConfigError, PtBridgeError, TransportError
from pt_bridge.explain import pt_words
from pt_bridge.files import owner_config, temporary_dir
from pt_bridge.options.transports import PROGRAMS
from pt_bridge.plugin import program as outer_program
from pt_bridge.plugin.outer import OuterPlugin
from pt_bridge.pt import program
from pt_bridge.pt.running_pt import PtSetup
from pt_bridge.system.child_process import Command

if TYPE_CHECKING:
    from collections.abc import (
        AsyncGenerator,
        Callable,
        Coroutine,
        Iterator,
        Mapping,
        Sequence,
    )
    from types import TracebackType

    from pt_bridge.files.program import FoundProgram
    from pt_bridge.options.config import Config
    from pt_bridge.protocol.address import Address
    from pt_bridge.pt.process import PtProcess

    Check = Callable[[], Coroutine[None, None, Sequence[CheckResult]]]

# How long a program may take to tell its version (seconds).
VERSION_LIMIT = 2.0
MAX_VERSION = 80  # characters
# How often somebody who waits for a look is told that it goes on (seconds).
WAITING_INTERVAL = 10.0
# Why a look may take so long.
WHY_WAIT = {
    "handshake": (
        "PTs take a minute to give up; a wrong cert, a wrong port and a blocked server "
        "all look like this"
    ),
    "start": "the PT may still be on its way to others that it needs (start-timeout=)",
    "session": "nothing has come back from the server yet",
    "answer": "nothing has come back through shadowsocks yet",
}


def only_way(config: Config, index: int) -> Config:
    """Return a client's configuration with one of its ways alone."""
    one = copy.copy(config)
    one.bridges = config.bridges or ""  # the line says where the server is
    one.bridge, one.ways = [config.bridge[index]], [config.ways[index]]
    one.transport, one.arguments = one.ways[0].transport, one.ways[0].arguments
    return one


class Checks:
    """The checks of one side, in their order.

    Attributes:
        on_waiting: called with a result now and then while a check takes its time; what
            that raises as a `ConfigError` is passed over.
        waiting_interval: how often, in seconds.
        scrub: takes the secrets out of what programs wrote, before it becomes a part of
            a sentence of ours.
        includes: tells whether a check, by its name, is to be made.
        needs_time: the names of those whose failure proves nothing where they had less
            time than they may take.
        is_service: whether the environment is that of a service, of any user's.
    """

    on_waiting: Callable[[CheckResult], None] | None = None
    waiting_interval = WAITING_INTERVAL
    is_service = False
    needs_time: frozenset[str] = frozenset()
    scrub: Callable[[str], str] = str
    includes: Callable[[str], bool] = staticmethod(lambda link: True)

    def __init__(
        self, config: Config, variables: Mapping[bytes, bytes], *, deadline: float
    ) -> None:
        """Create them; nothing is checked before `results`.

        Args:
            config: what the user asks for.
            variables: our environment.
            deadline: the loop's time when all must be done.
        """
        self._config = config
        self._variables = variables
        self._loop = asyncio.get_running_loop()
        self._deadline = deadline
        self._stack = contextlib.AsyncExitStack()
        self._pt: program.Pt
        self._outer_program: FoundProgram | None = None
        self._child: PtProcess | None = None
        # The shortest time for something that needs more, in the check that is made.
        self._shortened = math.inf

    async def __aenter__(self) -> Checks:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End everything that was started."""
        await self._stack.aclose()

    def _checks(self) -> Sequence[tuple[str, Check, int]]:
        """Return each check's name, what runs it, and its exit code."""
        raise NotImplementedError

    async def results(self) -> AsyncGenerator[CheckResult, None]:
        """Run one check after the other, until one fails."""
        for name, check, code in self._checks():
            if not self.includes(name):
                continue
            begun = self._loop.time()
            with self._telling(name, begun):
                results = await self._run_check(name, check, code)
            for result in results:
                yield result.of(name, self._loop.time() - begun)
                if result.has_failed:
                    return

    @contextlib.contextmanager
    def _telling(self, name: str, begun: float) -> Iterator[None]:
        """Print now and then, while the block lasts, that a check goes on."""
        timer: asyncio.TimerHandle

        def tell() -> None:
            nonlocal timer
            timer = self._loop.call_later(self.waiting_interval, tell)
            now = self._loop.time()
            left = f"at most {max(0.0, self._deadline - now):.0f} s more"
            why = WHY_WAIT.get(name, "nothing has come of it yet")
            if self.on_waiting is not None:
                with contextlib.suppress(ConfigError):  # the next result meets it, too
                    self.on_waiting(waiting(f"{why}; {left}").of(name, now - begun))

        timer = self._loop.call_later(self.waiting_interval, tell)
        try:
            yield
        finally:
            timer.cancel()

    async def _run_check(
        self, name: str, check: Check, code: int
    ) -> Sequence[CheckResult]:
        begun, self._shortened = self._loop.time(), math.inf
        try:
            async with asyncio.timeout_at(self._deadline):
                results = await check()
            took = self._loop.time() - begun
            # What fails because it had too little time says nothing of the server.
            if name not in self.needs_time or took < self._shortened:
                return results
            return [
                cut_short(each, took) if each.has_failed else each for each in results
            ]
        except PtBridgeError as error:
            text = str(error)
            if isinstance(error, TransportError) and error.reason:
                text = text.replace(error.reason, self.scrub(error.reason))
            return [failed(text, exit_code(error, code))]
        except TimeoutError:
            text = "there was no time left for it (--timeout sets the limit)"
            return [failed(text, LATE)]

    def _limit(self, limit: float) -> float:
        """Return how long something may take, so that there is time to tell of it."""
        left = max(0.0, (self._deadline - self._loop.time()) * 0.9)
        if left < limit:
            self._shortened = min(self._shortened, left)
        return min(limit, left)

    def _heard(self) -> str:
        """Return what the PT has just said, as the end of a sentence."""
        words = self._child.take_news() if self._child is not None else ""
        if not words:
            return ""
        meaning = pt_words.explain_words(words)
        return f"; {self.scrub(words)}" + (f" ({meaning})" if meaning else "")

    # -- checks of both sides ----------------------------------------------------------

    async def _check_program(self) -> Sequence[CheckResult]:
        wanted = owner_config.wanted(self._config, self._variables)
        self._pt = program.find(wanted, self._variables)
        warnings = map(warning, self._pt.passed_over)
        version = await self._version()
        return [*warnings, ok(f"{self._pt}{version}")]

    async def _check_plugin_program(self) -> Sequence[CheckResult]:
        """Find the program of the plugin outside the PT, if one is wanted.

        What is wrong with its name is said before a server is asked for anything.
        """
        via = self._config.via
        if via is None:
            return []
        wanted = owner_config.wanted_outer(via, self._variables)
        # A pt-bridge must not keep anything of this in its state directory.
        folder = self._stack.enter_context(temporary_dir.temporary(self._variables))
        variables = {**self._variables, b"STATE_DIRECTORY": os.fsencode(folder)}
        self._outer_program = outer_program.find(
            via, wanted, variables, server=self._config.server
        )
        return []

    async def _check_outer_plugin(
        self, remote: Address, local: Address | None = None
    ) -> Sequence[CheckResult]:
        """See whether the plugin outside the PT listens.

        Args:
            remote: SS_REMOTE, see `OuterPlugin`.
            local: SS_LOCAL, likewise.
        """
        via, found = self._config.via, self._outer_program
        if via is None or found is None:
            return []
        limit = self._limit(self._config.start_timeout)
        outer = OuterPlugin(
            via.name, via.options, found, remote=remote, local=local, limit=limit
        )
        async with outer:
            pass
        warnings = map(warning, found.passed_over)
        return [*warnings, ok(f"{via.name} listens ({found})")]

    def _pt_setup(self) -> PtSetup:
        """Return what the PT is started with: the programs that were found before."""
        outer = self._outer_program
        return PtSetup(
            self._config,
            self._variables,
            lambda: self._pt,
            self._limit(self._config.start_timeout),
            find_outer=None if outer is None else lambda: outer,
        )

    async def _version(self) -> str:
        """Ask one of those programs for its version that we know to answer."""
        if os.path.basename(self._pt.path) not in PROGRAMS:
            return ""
        command = Command([self._pt.path, "-version"], self._pt.inherited)
        try:
            async with asyncio.timeout(VERSION_LIMIT), command:
                await command.ended()
        except TimeoutError:
            return ""
        except OSError:  # the next look tells why it does not start
            return ""
        first = command.lines[0] if command.lines else ""
        name = os.path.basename(self._pt.path)
        if not first.startswith(name):
            return ""
        rest = self.scrub(first.removeprefix(name))
        return f", {name}{rest[:MAX_VERSION]}"
