"""The program: the environment and the command line in, an exit code out.

As a plugin it has its port open before it imports anything slow. So this module imports
only what reading the options and binding takes; the rest comes in `_Run`.
"""

from __future__ import annotations

import errno
import os
import sys
import time

from pt_bridge.errors import (
    BUG_TEXT,
    STOPPED,
    Bug,
    ConfigError,
    ListenError,
    PtBridgeError,
    TransportError,
)
from pt_bridge.net.bind import bind
from pt_bridge.options.config import Config
from pt_bridge.options.ss_variables import TAKES_OVER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import ModuleType
    from typing import NoReturn

    from pt_bridge.plans.plan import Plan
    from pt_bridge.plans.tunnels_file import TunnelsFile
    from pt_bridge.process.tunnel_spec import TunnelSpec
    from pt_bridge.protocol.address import Address
    from pt_bridge.system.scrubber import Scrubber

    Planned = tuple[Plan, Config]
    ReadFile = tuple[TunnelsFile, Sequence[Planned]]

STARTED = time.monotonic()
PRIVATE_UMASK = 0o077
# shadowsocks-libev listens for its plugin's end only a while after it has started it
# (HQ-02): how long after our own start an error may end us (seconds).
MIN_LIFE = 0.2
# What hosts put on a plugin's command line, Android's app for one, and means nothing
# to us.
SHADOWSOCKS_ARGUMENTS = frozenset({"-V", "--fast-open"})


def main() -> NoReturn:
    """Run pt-bridge, and end the process with an exit code (see `pt_bridge.errors`)."""
    run = _Run()
    try:
        code = _main(run)
    except (ConfigError, TransportError, Bug) as error:
        code = run.fail(error, error.exit_code)
    except SystemExit:  # --help or --version was printed
        code = STOPPED
    except Exception as error:
        code = _fail_by_a_bug(error)
    # Nothing is left to do. The interpreter would take its time, restore what signals
    # do by default, and wait for each thread that still looks up a name.
    os._exit(code)


def _main(run: _Run) -> int:
    if os.getpid() == 1:
        from pt_bridge.system import init

        init.leave_work_to_child()
    _open_standard_descriptors()
    os.umask(PRIVATE_UMASK)
    if TAKES_OVER in os.environb:
        from pt_bridge.net import takeover  # for what few do, and once

        takeover.begin()
    arguments = sys.argv[1:]
    if not SHADOWSOCKS_ARGUMENTS.issuperset(arguments):
        from pt_bridge.cli import commands

        return commands.main(arguments, run.one, run.several)
    run.one(_config)
    return STOPPED


def _config() -> Config:
    return Config(
        os.environb,
        is_allowed=_is_allowed,
        program_flags=_program_flags,
        bridges=_bridges,
    )


def _bridges(name: str) -> Sequence[str]:
    from pt_bridge.files import bridges_file  # for what few ask for

    return bridges_file.read(name, os.environb)


def _program_flags(config: Config, transport: str) -> Sequence[str]:
    from pt_bridge.files import owner_config  # for what hardly anybody leaves out

    return owner_config.wanted(config, os.environb, transport).arguments


def _is_allowed(option: str) -> bool:
    from pt_bridge.files import owner_config  # for what hardly anybody asks for

    return owner_config.allows(option, os.environb)


class _Run:
    """What this process does; and, should that fail, what the last line may say."""

    def __init__(self) -> None:
        self._config: Config | None = None
        self._reloads = False  # at SIGHUP, which stops a plugin
        self._scrub: Scrubber | None = None

    def one(self, read_config: Callable[[], Config]) -> None:
        """Run the bridge that a configuration asks for.

        Args:
            read_config: makes the configuration.
        """
        self._config = config = read_config()
        self._reloads = not config.plugin
        if self._reloads:
            self._stop_at_once_when_asked()
        ports = [
            bind(
                address,
                before_waiting=self._stop_at_once_when_asked,
                is_server=config.server,
            )
            for address in _outer(config)
        ]
        self._stop_at_once_when_asked()
        process = _slow_module()
        self._scrub = scrub = _scrubber(config)
        process.run_one(config, ports, os.environb, scrub)

    def several(self, read: Callable[[], ReadFile]) -> None:
        """Run all tunnels of a file.

        Args:
            read: reads the file, and again when we are told to.
        """
        self._reloads = True
        self._stop_at_once_when_asked()
        process = _slow_module()
        file, planned = read()
        self._scrub = scrub = _scrubber(*(config for _, config in planned), file=file)
        wanted = _by_name(planned)
        ports = {name: _listening(each) for name, each in wanted.items()}

        def read_again() -> tuple[Mapping[str, TunnelSpec], Sequence[str]]:
            new, planned = read()
            for _, config in planned:
                _learn(scrub, config)
            return _by_name(planned), new.notes_on_change(file)

        settings = process.LogSettings(file.loglevel, "", file.logfile)
        process.run_several(
            wanted, ports, os.environb, scrub, settings, file.metrics, read_again
        )

    def fail(self, error: PtBridgeError, code: int) -> int:
        """Write on stderr, as the last line, what is wrong; return the exit code."""
        import logging

        from pt_bridge.system.log import say
        from pt_bridge.system.scrubber import log_line

        self._stop_at_once_when_asked(code)
        config = self._config
        name = "pt-bridge"
        if config is not None:
            name += f"[{','.join(config.transports)}]"
        # The one that has learnt what the PT told, once there is one.
        scrub = self._scrub or _scrubber(*filter(None, [config]))
        say(log_line(f"{name}: error: {error}", scrub), logging.ERROR)
        if config is None or config.plugin:
            time.sleep(max(0.0, STARTED + MIN_LIFE - time.monotonic()))
        return code

    def _stop_at_once_when_asked(self, code: int = 0) -> None:
        """Let a stop be our end, with this exit code, until there is more to stop.

        SIGHUP waits, where that is none, until it can be answered.
        """
        from pt_bridge.system import signals  # slow to import; the port comes first

        signals.stop_at_once(code)
        signals.let_in(but=[signals.RELOAD] if self._reloads else [])


def _slow_module() -> ModuleType:
    """Import what carries connections.

    Without ssl, which takes asyncio long, and memory; nothing here speaks TLS.
    """
    hidden = "ssl" not in sys.modules
    if hidden:
        # "Not to be found".
        sys.modules["ssl"] = None  # type: ignore[assignment]
    try:
        from pt_bridge.process import run
    finally:
        if hidden:
            del sys.modules["ssl"]
    return run


def _listening(wanted: TunnelSpec) -> list[int]:
    """Listen where a tunnel of the file says."""
    try:
        return [bind(address) for address in wanted.outer]
    except ListenError as error:
        raise ListenError(f"{wanted.where}{error}") from None


def _by_name(planned: Sequence[Planned]) -> dict[str, TunnelSpec]:
    from pt_bridge.process.tunnel_spec import TunnelSpec

    return {
        plan.name: TunnelSpec(config, plan.listen, plan) for plan, config in planned
    }


def _outer(config: Config) -> list[Address]:
    """Return where we listen ourselves, before anything else is done."""
    if not config.server:
        return [config.local]
    return config.remotes if config.front else []


def _scrubber(*configs: Config, file: TunnelsFile | None = None) -> Scrubber:
    """Create a scrubber that knows the user's secrets."""
    from pt_bridge.system.scrubber import Scrubber

    unsafe = all(config.unsafe_logging for config in configs) and bool(configs)
    if file is not None:
        unsafe = file.unsafe_logging
    scrub = Scrubber(addresses=not unsafe)
    for config in configs:
        _learn(scrub, config)
    return scrub


def _learn(scrub: Scrubber, config: Config) -> None:
    """Add the secrets of a configuration to a scrubber."""
    secrets = config.secrets
    names = [*config.remote_hosts, config.local.host]
    names += [address.host for way in config.ways for address in way.addresses]
    if config.via is not None:
        from pt_bridge.options import outer_plugins  # for what few ask for

        secrets = [*secrets, *outer_plugins.values(config.via.options)]
    if config.upstream_proxy is not None:
        secrets += config.upstream_proxy.credentials
        names.append(config.upstream_proxy.address.host)
    scrub.add(secrets=secrets, names=names)


def _open_standard_descriptors() -> None:
    """Keep our sockets from becoming stdin, stdout or stderr (FE-16)."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError as error:
            if error.errno == errno.EBADF:
                os.open(os.devnull, os.O_RDWR)  # the lowest that is free: this one


def _fail_by_a_bug(error: Exception) -> int:
    """Print a bug's error where there is no log yet; return the exit code."""
    import traceback

    from pt_bridge.system.log import say
    from pt_bridge.system.scrubber import Scrubber, one_line

    # Nobody can tell what of all that was given to us is a secret.
    given = sys.argv[1:]
    given += [f"{k}={v}" for k, v in os.environ.items() if k.startswith("SS_")]
    options = [option for text in given for option in text.split(";")]
    scrub = Scrubber()
    scrub.add(secrets=[part for each in options for part in each.split("=")[1:]])
    text = "".join(traceback.format_exception(error))
    say(one_line(scrub(f"pt-bridge: error: a bug in pt-bridge\n{text}")))
    return _Run().fail(Bug(BUG_TEXT), Bug.exit_code)
