"""``pt-bridge doctor``: find the broken link of a chain, on this machine."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pt_bridge import forms, log, owner, signals
from pt_bridge.config import Config, variables_from_flags
from pt_bridge.diagnosis import Step, exit_code, failed, ok, warning
from pt_bridge.errors import ConfigError, OptionsError, UsageError
from pt_bridge.own_options import OPTIONS, SERVER, TOR_BRIDGE
from pt_bridge.protocol.profile import Profile
from pt_bridge.scrubber import Scrubber, one_line

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping

    from pt_bridge.examination import Examination
    from pt_bridge.own_options import Values
    from pt_bridge.protocol.address import Address

# How long all of it may take, if nobody says otherwise (seconds): a PT takes a minute
# to give up on a server.
TIMEOUT = 120.0
# What a configuration must name, and a chain that is only looked at does not need.
ANY_LOCAL = "127.0.0.1:1080"
# Flags that mean nothing to a pt-bridge that runs for one request: it writes no log.
NOT_FOR_SHADOWSOCKS = {SERVER, "loglevel", "logfile", "unsafe-logging"}
BUG = 70  # EX_SOFTWARE
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
    """

    text: str = field(default="", repr=False)
    plugin_opts: str | None = field(default=None, repr=False)
    local: str | None = None
    remote: str | None = None
    flags: Values = field(default_factory=dict, repr=False)
    through: Address | None = None
    timeout: float = TIMEOUT
    json: bool = False


def run(
    request: Request, variables: Mapping[bytes, bytes], write: Callable[[str], None]
) -> int:
    """Walk the chain, and write what is found.

    Args:
        request: what somebody asks.
        variables: our environment.
        write: writes a line to stdout.

    Returns:
        The exit code: 0 where no link is broken.
    """
    scrub = Scrubber(addresses=False)
    try:
        with asyncio.Runner() as runner:
            walk = _walk(request, variables, write, scrub)
            return runner.run(_until_stopped(walk))
    except ConfigError:  # stdout cannot be written
        raise
    except Exception:
        log.start("error", "", scrub)
        log.logger.exception("a bug in pt-bridge: please report this line")
        log.stop()
        return BUG


async def _until_stopped(walk: Coroutine[None, None, int]) -> int:
    """Do it to its end, or until a signal stops us; then nothing is left, either."""
    loop = asyncio.get_running_loop()
    task: asyncio.Task[int] = loop.create_task(walk)
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


async def _walk(
    request: Request,
    variables: Mapping[bytes, bytes],
    write: Callable[[str], None],
    scrub: Scrubber,
) -> int:
    code = 0
    async with contextlib.aclosing(steps(request, variables, scrub)) as found:
        async for step in found:
            text = step.as_json() if request.json else step.as_text()
            write(text)
            code = code or step.exit_code
    return code


async def steps(
    request: Request, variables: Mapping[bytes, bytes], scrub: Scrubber
) -> AsyncGenerator[Step, None]:
    """Look at one link after the other, until one is broken.

    Args:
        request: what somebody asks.
        variables: our environment.
        scrub: learns the secrets, and takes them out of what is told.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + request.timeout
    begun = loop.time()
    try:
        profile = _profile(request)
        config = _config(profile, request, variables)
    except ConfigError as error:
        step = failed(str(error), exit_code(error, 0))
        yield _clean(step.of("options", loop.time() - begun), scrub)
        return
    scrub.add(secrets=_secrets(config, profile))
    for step in _options(config, profile):
        yield _clean(step.of("options", loop.time() - begun), scrub)
    examination = _examination(config, profile, request, variables, deadline)
    async with (
        examination,
        contextlib.aclosing(examination.steps()) as found,
    ):
        async for step in found:
            yield _clean(step, scrub)


def _clean(step: Step, scrub: Scrubber) -> Step:
    """Take out what must not be seen, and what would break the line."""
    text, advice = (one_line(scrub(each)) for each in (step.text, step.advice))
    return replace(step, text=text, advice=advice)


def _profile(request: Request) -> Profile:
    """Read what somebody gave us, whatever form it has."""
    profile = forms.read(request.text) if request.text else Profile()
    if profile.program not in ("", forms.PLUGIN) and request.plugin_opts is None:
        raise OptionsError(
            f"this is for the plugin {profile.program}, and not for {forms.PLUGIN}"
        )
    options = request.plugin_opts
    if options is None:
        options = profile.plugin_opts
    return replace(profile, plugin=forms.PLUGIN, plugin_opts=options)


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
        may=lambda option: owner.allows(option, variables),
    )


def _secrets(config: Config, profile: Profile) -> list[str]:
    found = [value for _, value in config.arguments]
    if profile.password is not None:
        found.append(profile.password)
    if config.upstream_proxy is not None:
        found += config.upstream_proxy.credentials
    return found


def _options(config: Config, profile: Profile) -> list[Step]:
    """Say what was understood."""
    warnings = list(config.warnings)
    if profile.fingerprint is not None and TOR_BRIDGE not in warnings:
        warnings.append(TOR_BRIDGE)
    role = "server" if config.server else "client"
    text = f"{role}, transport={config.transport}, hold={config.hold}"
    return [*map(warning, warnings), ok(text)]


def _examination(
    config: Config,
    profile: Profile,
    request: Request,
    variables: Mapping[bytes, bytes],
    deadline: float,
) -> Examination:
    if config.server:
        from pt_bridge.server_examination import ServerExamination

        return ServerExamination(
            config,
            variables,
            deadline=deadline,
            is_local_known=request.local is not None,
        )
    from pt_bridge.client_examination import ClientExamination

    return ClientExamination(
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
        f"--{name}={value}" if OPTIONS[name].value else f"--{name}"
        for name, value in flags.items()
        if name not in NOT_FOR_SHADOWSOCKS
    ]
    if not words:
        return []
    hosts = "|".join(f"[{h}]" if ":" in h else h for h in config.remote_hosts)
    return [f"--remote={hosts}:{config.remote_port}", *words]
