"""``pt-bridge doctor``: find what is broken between this machine and the server."""

from __future__ import annotations

import asyncio
import contextlib
import re
from dataclasses import dataclass, field, replace
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
from pt_bridge.errors import BUG, ConfigError, OptionsError, UsageError
from pt_bridge.files import bridges_file, owner_config
from pt_bridge.formats.profile import Profile
from pt_bridge.options import outer_plugins
from pt_bridge.options.config import Config
from pt_bridge.options.option_values import ONLY, TOR_BRIDGE
from pt_bridge.options.own_options import OPTIONS, SERVER
from pt_bridge.options.ss_variables import variables_from_flags
from pt_bridge.options.transports import PROGRAMS, TRANSPORTS
from pt_bridge.profiles import pasted, pasted_options
from pt_bridge.profiles.forms import PLUGIN
from pt_bridge.system import event_loop, log, signals
from pt_bridge.system.scrubber import Scrubber, one_line

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping

    from pt_bridge.doctor.checks import Checks
    from pt_bridge.options.option_values import Values
    from pt_bridge.protocol.address import Address

    ChecksOf = Callable[[Config, float], Checks]

# How long all of it may take, if nobody says otherwise (seconds): a PT takes a minute
# to give up on a server.
TIMEOUT = 120.0
# What a configuration must name, and what is only checked does not need.
ANY_LOCAL = "127.0.0.1:1080"
# Flags that mean nothing to a pt-bridge that runs for one request: it writes no log.
NOT_FOR_SHADOWSOCKS = {SERVER, "loglevel", "logfile", "unsafe-logging"}
# What a word of our own sentences looks like; real keys are longer, or have digits.
OUR_WORD = re.compile(r"[A-Za-z-]{1,20}")
OUR_NAMES = frozenset({*PROGRAMS, *TRANSPORTS})
ANSWER = "answer"  # the check that goes through shadowsocks, by any way
STOPPED = 128  # and the signal's number, as shells have it


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What somebody asks doctor.

    Attributes:
        text: what it is about: plugin options, a bridge line, an ``ss://`` link or a
            ``config.json``'s content; "" where flags say it all.
        plugin_opts: plugin options that come before those of `text`, or None.
        local: ``HOST:PORT`` on the side of shadowsocks, or None.
        remote: ``HOST:PORT`` on the side of the Internet, or None.
        flags: our own options from the command line.
        through: a web server to ask for an answer through shadowsocks, or None.
        timeout: how long all of it may take, in seconds.
        json: whether a program reads the answer.
        is_service: whether our environment is that of a service, of any user's.
        with_tor: whether it is a Tor bridge, which a tor is to try.
        tor_defaults: a file with more of that tor's configuration, or None.
    """

    text: str = field(default="", repr=False)
    plugin_opts: str | None = field(default=None, repr=False)
    local: str | None = None
    remote: str | None = None
    flags: Values = field(default_factory=dict, repr=False)
    through: Address | None = None
    timeout: float = TIMEOUT
    json: bool = False
    is_service: bool = False
    with_tor: bool = False
    tor_defaults: str | None = None


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
        profile = _profile(request)
        config = _config(profile, request, variables)
    except ConfigError as error:
        result = failed(str(error), exit_code(error, 0))
        yield _clean(result.of("options", loop.time() - begun), scrub)
        return
    secrets = _secrets(config, profile)
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


def _profile(request: Request) -> Profile:
    """Read what somebody gave us, whatever form it has."""
    profile = pasted.read(request.text) if request.text else Profile()
    if profile.program not in ("", PLUGIN) and request.plugin_opts is None:
        raise OptionsError(
            f"this is for the plugin {profile.program}, and not for {PLUGIN}"
        )
    options = request.plugin_opts
    if options is None:
        return profile
    # A bridge line in them names the server.
    if options and not profile.hosts and request.remote is None:
        told = pasted_options.from_options(options)
        profile = replace(profile, hosts=told.hosts, port=told.port)
    return replace(profile, plugin_opts=options)


def _config(
    profile: Profile, request: Request, variables: Mapping[bytes, bytes]
) -> Config:
    remote = request.remote
    if remote is None and profile.hosts and profile.port is not None:
        hosts = "|".join(f"[{h}]" if ":" in h else h for h in profile.hosts)
        remote = f"{hosts}:{profile.port}"
    if remote is None:
        raise UsageError(
            "nothing says where the server is: add --remote HOST:PORT (a server's is "
            "what it listens on)"
        )
    return Config(
        variables_from_flags(
            local=request.local or ANY_LOCAL,
            remote=remote,
            plugin_options=profile.plugin_opts,
        ),
        plugin=False,
        flags=request.flags,
        may=lambda option: owner_config.allows(option, variables),
        bridges=lambda name: bridges_file.read(name, variables),
        program_flags=lambda config, transport: (
            owner_config.wanted(config, variables, transport).arguments
        ),
    )


def _secrets(config: Config, profile: Profile) -> list[str]:
    found = config.secrets
    if config.via is not None:
        found = [*found, *outer_plugins.values(config.via.options)]
    if profile.password is not None:
        found.append(profile.password)
    if config.upstream_proxy is not None:
        found += config.upstream_proxy.credentials
    return found


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
        flags=_as_words(config, request.flags),
        through=request.through,
    )


def _as_words(config: Config, flags: Values) -> list[str]:
    """Write our own options as a command line has them; none where there are none."""
    words = [
        word
        for name, value in flags.items()
        if name not in NOT_FOR_SHADOWSOCKS and not OPTIONS[name].is_flag_only
        for word in OPTIONS[name].words(value)
    ]
    if not words:
        return []
    hosts = "|".join(f"[{h}]" if ":" in h else h for h in config.remote_hosts)
    return [f"--remote={hosts}:{config.remote_port}", *words]
