"""``pt-bridge doctor``: find what is broken between this machine and the server."""

from __future__ import annotations

import asyncio
import contextlib
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from pt_bridge.doctor import config_check
from pt_bridge.doctor.checks import only_way
from pt_bridge.doctor.report import (
    CheckResult,
    Verdict,
    exit_code,
    failed,
    ok,
    warning,
)
from pt_bridge.doctor.request import config_of, profile_of, secrets_of, words_of
from pt_bridge.errors import BUG, ConfigError
from pt_bridge.options.option_values import ONLY, TOR_BRIDGE
from pt_bridge.options.transports import PROGRAMS, TRANSPORTS
from pt_bridge.system import event_loop, log, signals
from pt_bridge.system.scrubber import Scrubber, one_line

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping

    from pt_bridge.doctor.checks import Checks
    from pt_bridge.doctor.request import Request
    from pt_bridge.formats.profile import Profile
    from pt_bridge.options.config import Config

    ChecksOf = Callable[[Config, float], Checks]

# What a word of our own sentences looks like; real keys are longer, or have digits.
OUR_WORD = re.compile(r"[A-Za-z-]{1,20}")
OUR_NAMES = frozenset({*PROGRAMS, *TRANSPORTS})
ANSWER = "answer"  # the check that goes through shadowsocks, by any way
STOPPED = 128  # and the signal's number, as shells have it


def run(
    request: Request, variables: Mapping[bytes, bytes], write: Callable[[str], None]
) -> int:
    """Run the checks, and write what is found.

    Args:
        request: what somebody asks.
        variables: our environment.
        write: writes a line to stdout.

    Returns:
        The exit code: 0 where no check fails.
    """
    scrub = Scrubber(addresses=False)
    try:
        with asyncio.Runner(loop_factory=event_loop.create) as runner:
            checking = _check(request, variables, write, scrub)
            return runner.run(_until_stopped(checking))
    except ConfigError:  # stdout cannot be written
        raise
    except Exception:
        log.start("error", "", scrub)
        log.logger.exception("a bug in pt-bridge: please report this line")
        log.stop()
        return BUG


async def _until_stopped(checking: Coroutine[None, None, int]) -> int:
    """Run it to its end, or until a signal stops us; leave nothing in either case."""
    loop = asyncio.get_running_loop()
    task: asyncio.Task[int] = loop.create_task(checking)
    stopped = 0

    def stop(number: int) -> None:
        nonlocal stopped
        stopped = stopped or number
        task.cancel()

    for number in signals.stopping():
        loop.add_signal_handler(number, stop, number)
    try:
        return await task
    except asyncio.CancelledError:
        return STOPPED + stopped
    finally:
        signals.hold_back()


async def _check(
    request: Request,
    variables: Mapping[bytes, bytes],
    write: Callable[[str], None],
    scrub: Scrubber,
) -> int:
    code = 0

    def tell(result: CheckResult) -> None:
        write(result.as_json() if request.json else result.as_text())

    found = results(request, variables, scrub, on_waiting=tell)
    async with contextlib.aclosing(found):
        async for result in found:
            tell(result)
            code = code or result.exit_code
    return code


async def results(
    request: Request,
    variables: Mapping[bytes, bytes],
    scrub: Scrubber,
    *,
    on_waiting: Callable[[CheckResult], None] | None = None,
) -> AsyncGenerator[CheckResult, None]:
    """Run one check after the other, until one fails.

    Args:
        request: what somebody asks.
        variables: our environment.
        scrub: learns the secrets, and takes them out of what is told.
        on_waiting: called now and then while a look takes its time.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + request.timeout
    begun = loop.time()
    try:
        profile = profile_of(request)
        config = config_of(request, profile, variables)
    except ConfigError as error:
        result = failed(str(error), exit_code(error, 0))
        yield _clean(result.of("options", loop.time() - begun), scrub)
        return
    secrets = secrets_of(config, profile)
    words_of_others = Scrubber(addresses=False)
    words_of_others.add(secrets=secrets)
    scrub.add(secrets=[each for each in secrets if not _is_like_our_words(each)])
    for result in _options(config, profile, with_tor=request.with_tor):
        yield _clean(result.of("options", loop.time() - begun), scrub)
    for result in config_check.look(profile, variables, server=config.server):
        yield _clean(result.of("configuration", loop.time() - begun), scrub)
        if result.has_failed:
            return

    def checks_of(config: Config, deadline: float) -> Checks:
        checks = _checks_of(config, profile, request, variables, deadline)
        checks.on_waiting = on_waiting
        checks.is_service = request.is_service
        checks.scrub = words_of_others
        return checks

    several = len(config.ways) > 1 and not request.with_tor
    look = _each_way if several else _all_of
    async with contextlib.aclosing(look(config, checks_of, deadline)) as found:
        async for result in found:
            yield _clean(result, scrub)


async def _all_of(
    config: Config, checks_of: ChecksOf, deadline: float
) -> AsyncGenerator[CheckResult, None]:
    """Run the checks of a configuration."""
    checks = checks_of(config, deadline)
    async with checks, contextlib.aclosing(checks.results()) as found:
        async for result in found:
            yield result


async def _each_way(
    config: Config, checks_of: ChecksOf, deadline: float
) -> AsyncGenerator[CheckResult, None]:
    """Check every way, and say of each whether it works; one is enough.

    Each has its share of the time that is left.
    """
    loop = asyncio.get_running_loop()
    begun = loop.time()
    number = len(config.ways)
    failures: list[CheckResult] = []
    for index, way in enumerate(config.ways):
        name = f"way {index + 1} of {number} ({way.transport})"
        share = (deadline - loop.time()) / (number - index + 1)  # one for the answer
        checks = checks_of(only_way(config, index), loop.time() + share)
        checks.includes = lambda link: link != ANSWER
        has_failed = False
        async with checks, contextlib.aclosing(checks.results()) as found:
            async for result in found:
                told = replace(result, text=f"{name}: {result.text}")
                if result.has_failed:
                    has_failed = True
                    failures.append(result)
                    told = replace(told, verdict=Verdict.WARNING, exit_code=0)
                yield told
        works = "does not work" if has_failed else "works"
        yield ok(f"{name} {works}").of("ways", loop.time() - begun)
    if len(failures) == number:
        text = f"none of the {number} ways works"
        yield failed(text, failures[0].exit_code).of("ways", loop.time() - begun)
        return
    checks = checks_of(config, deadline)
    checks.includes = lambda link: link == ANSWER
    async with checks, contextlib.aclosing(checks.results()) as found:
        async for result in found:
            yield result


def _is_like_our_words(secret: str) -> bool:
    """Whether a secret may stand in our own sentences, which say nothing of it.

    To take it out of them would tell what it is.
    """
    return secret in OUR_NAMES or OUR_WORD.fullmatch(secret) is not None


def _clean(result: CheckResult, scrub: Scrubber) -> CheckResult:
    """Take out what must not be seen, and what would break the line."""
    text, advice = (one_line(scrub(each)) for each in (result.text, result.advice))
    return replace(result, text=text, advice=advice)


def _options(config: Config, profile: Profile, *, with_tor: bool) -> list[CheckResult]:
    """Print what was understood."""
    warnings = [*profile.notes, *config.warnings]
    if with_tor:
        warnings = [each for each in warnings if each != TOR_BRIDGE]
    elif profile.fingerprint is not None and TOR_BRIDGE not in warnings:
        warnings.append(TOR_BRIDGE)
    role = "server" if config.server else "client"
    told = [role, f"transport={','.join(config.transports)}"]
    if not config.server:
        told.append(f"session={config.session}")
    elif config.only_sessions:
        told.append(f"session={ONLY}")
    if config.front:
        told.append("front=yes")
    if config.via is not None:
        told.append(f"via={config.via.name}")
    return [*map(warning, warnings), ok(", ".join(told))]


def _checks_of(
    config: Config,
    profile: Profile,
    request: Request,
    variables: Mapping[bytes, bytes],
    deadline: float,
) -> Checks:
    if config.server:
        from pt_bridge.doctor.server import ServerChecks

        return ServerChecks(
            config,
            variables,
            deadline=deadline,
            is_local_known=request.local is not None,
        )
    if request.with_tor:
        from pt_bridge.doctor.tor_bridge import TorBridgeChecks

        return TorBridgeChecks(
            config,
            variables,
            deadline=deadline,
            profile=profile,
            fingerprint=profile.fingerprint,
            defaults=request.tor_defaults,
        )
    from pt_bridge.doctor.client import ClientChecks

    return ClientChecks(
        config,
        variables,
        deadline=deadline,
        profile=replace(
            profile, hosts=tuple(config.remote_hosts), port=config.remote_port
        ),
        flags=words_of(config, request.flags),
        through=request.through,
    )
