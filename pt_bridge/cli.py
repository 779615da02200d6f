"""The program: the environment and the command line in, an exit code out.

As a plugin it has its port open before it imports anything slow. So this module imports
only what reading the options and binding takes; the rest comes in `_run`.
"""

from __future__ import annotations

import errno
import os
import sys
import time

from pt_bridge.config import Config
from pt_bridge.errors import ConfigError, PtBridgeError, TransportError
from pt_bridge.own_options import BOTH
from pt_bridge.port import bind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pt_bridge.protocol.address import Address
    from pt_bridge.scrubber import Scrubber

STARTED = time.monotonic()
BUG = 70  # EX_SOFTWARE
BUG_TEXT = "internal error: please report the lines above"
PRIVATE_UMASK = 0o077
# shadowsocks-libev listens for its plugin's end only a while after it has started it
# (conformance HQ-02): how long after our own start an error may end us (seconds).
MIN_LIFE = 0.2
# What Android's app puts on a plugin's command line, and means nothing to us.
HOST_ARGUMENTS = (["-V"],)


def main() -> int:
    """Run pt-bridge; give its exit code (see the README's table)."""
    try:
        code = _main()
    except Exception as error:
        code = _fail_by_a_bug(error)
    # The interpreter restores what signals do by default, and then takes its time.
    from pt_bridge import signals

    signals.ignore()
    return code


def _main() -> int:
    _open_standard_descriptors()
    os.umask(PRIVATE_UMASK)
    arguments = sys.argv[1:]
    if arguments and arguments not in HOST_ARGUMENTS:
        from pt_bridge import command_line

        return command_line.main(arguments, run)
    return run(lambda: Config(os.environb, may=_may))


def _may(option: str) -> bool:
    from pt_bridge import owner  # for what hardly anybody asks for

    return owner.allows(option, os.environb)


def run(read_config: Callable[[], Config]) -> int:
    """Be the bridge that a configuration asks for.

    Args:
        read_config: makes the configuration.
    """
    config = None
    try:
        config = read_config()
        ports = [
            bind(address, before_waiting=_stop_at_once_when_asked)
            for address in _outer(config)
        ]
    except ConfigError as error:
        return _fail(error, error.exit_code, config)
    _stop_at_once_when_asked()
    return _run(config, ports)


def _outer(config: Config) -> list[Address]:
    """Give where we listen ourselves, before anything else is done."""
    if not config.server:
        return [config.local]
    return config.remotes if config.hold == BOTH else []


def _run(config: Config, ports: list[int]) -> int:
    import asyncio

    from pt_bridge import log

    scrub = _scrubber(config)
    log.start(config.loglevel, config.transport, scrub)
    failure: PtBridgeError | None = None
    code = 0
    try:
        if config.logfile is not None:
            _add_log_file(config, scrub)
        with asyncio.Runner() as runner:
            runner.run(_bridge(config, scrub, ports))
    except (ConfigError, TransportError) as error:
        failure, code = error, error.exit_code
    except Exception:
        log.logger.exception("a bug in pt-bridge")
        failure, code = PtBridgeError(BUG_TEXT), BUG
    finally:
        # Our end takes a moment.
        _stop_at_once_when_asked()
        log.stop()
    # Only now: what a broken loop writes when it goes must not be the last line.
    # With the scrubber that has learnt what the PT told.
    return 0 if failure is None else _fail(failure, code, config, scrub)


async def _bridge(config: Config, scrub: Scrubber, ports: list[int]) -> None:
    import asyncio
    import socket

    from pt_bridge import signals
    from pt_bridge.bridge import Bridge

    bridge: Bridge
    socks = [socket.socket(fileno=port) for port in ports]
    if config.server:
        from pt_bridge.held_server import HeldServerBridge
        from pt_bridge.server import ServerBridge

        if socks:
            bridge = HeldServerBridge(config, os.environb, scrub, socks)
        else:
            bridge = ServerBridge(config, os.environb, scrub)
    else:
        from pt_bridge.client import ClientBridge

        bridge = ClientBridge(config, os.environb, scrub, socks)
    loop = asyncio.get_running_loop()
    for number in signals.stopping():
        is_interrupt = number == signals.INTERRUPT
        answer = bridge.interrupt if is_interrupt else bridge.stop
        loop.add_signal_handler(number, answer)
    loop.add_signal_handler(signals.REPORT, bridge.report)
    try:
        await bridge.run()
    finally:
        # The loop takes its handlers with it; a second stop waits until we have others.
        signals.hold_back()


def _add_log_file(config: Config, scrub: Scrubber) -> None:
    from pt_bridge import log, state

    assert config.logfile is not None  # the caller has looked
    path = config.logfile
    if not os.path.isabs(path):
        path = state.file_below(path, os.environb)
    log.add_file(path, config.transport, scrub)


def _scrubber(config: Config | None) -> Scrubber:
    """Make a scrubber that knows the user's secrets."""
    from pt_bridge.scrubber import Scrubber

    scrub = Scrubber(addresses=config is None or not config.unsafe_logging)
    if config is not None:
        secrets = [value for _, value in config.arguments]
        names = [*config.remote_hosts, config.local.host]
        if config.upstream_proxy is not None:
            secrets += config.upstream_proxy.credentials
            names.append(config.upstream_proxy.address.host)
        scrub.add(secrets=secrets, names=names)
    return scrub


def _open_standard_descriptors() -> None:
    """Keep our sockets from becoming stdin, stdout or stderr (conformance FE-16)."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError as error:
            if error.errno == errno.EBADF:
                os.open(os.devnull, os.O_RDWR)  # the lowest that is free: this one


def _stop_at_once_when_asked(code: int = 0) -> None:
    from pt_bridge import signals  # slow to import, and the port comes first

    signals.stop_at_once(code)
    signals.let_in()


def _fail(
    error: PtBridgeError,
    code: int,
    config: Config | None,
    scrub: Scrubber | None = None,
) -> int:
    """Say on stderr, as the last line, what is wrong; give the exit code."""
    from pt_bridge.log import say
    from pt_bridge.scrubber import one_line

    _stop_at_once_when_asked(code)
    name = f"pt-bridge[{config.transport}]" if config is not None else "pt-bridge"
    scrub = scrub or _scrubber(config)
    say(one_line(scrub(f"{name}: error: {error}")))
    if config is None or config.plugin:
        time.sleep(max(0.0, STARTED + MIN_LIFE - time.monotonic()))
    return code


def _fail_by_a_bug(error: Exception) -> int:
    """Say what nobody has foreseen where there is no log yet; give the exit code."""
    import traceback

    from pt_bridge.log import say
    from pt_bridge.scrubber import Scrubber, one_line

    # Nobody can tell what of all that was given to us is a secret.
    given = sys.argv[1:]
    given += [f"{k}={v}" for k, v in os.environ.items() if k.startswith("SS_")]
    options = [option for text in given for option in text.split(";")]
    scrub = Scrubber()
    scrub.add(secrets=[part for each in options for part in each.split("=")[1:]])
    text = "".join(traceback.format_exception(error))
    say(one_line(scrub(f"pt-bridge: error: a bug in pt-bridge\n{text}")))
    return _fail(PtBridgeError(BUG_TEXT), BUG, None)
