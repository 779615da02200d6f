"""The commands for people: client, server, convert, show, doctor, help."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from pt_bridge.cli import option_help, places, run_command
from pt_bridge.cli.parser import DOCTOR, RUN, command_line, flags_of, print_text
from pt_bridge.errors import STOPPED, ProtocolError, UsageError
from pt_bridge.files import bridges_file, owner_config
from pt_bridge.options.config import Config
from pt_bridge.options.own_options import SERVER
from pt_bridge.options.ss_variables import variables_from_flags
from pt_bridge.protocol.address import parse_host_port

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from pt_bridge.plans.plan import Plan
    from pt_bridge.plans.tunnels_file import TunnelsFile
    from pt_bridge.protocol.address import Address

    Printed = tuple[str, list[str]]
    ReadFile = tuple[TunnelsFile, Sequence[tuple[Plan, Config]]]

SECONDS = re.compile(r"[0-9]{1,6}(?:\.[0-9]{1,3})?")


def main(
    arguments: Sequence[str],
    run: Callable[[Callable[[], Config]], None],
    run_several: Callable[[Callable[[], ReadFile]], None],
) -> int:
    """Run the command that the command line names.

    Args:
        arguments: the command line without the program's name.
        run: runs the bridge that a configuration asks for.
        run_several: likewise for what a file of tunnels asks for.

    Returns:
        The exit code.

    Raises:
        ConfigError: something that was given is wrong.
    """
    given = command_line().parse_args(arguments)
    if given.command is None:
        raise UsageError("say what to be: client or server")
    if given.command == DOCTOR:
        return _doctor(given)
    if given.command == RUN and not given.check:
        run_several(lambda: run_command.read(given.file))
    elif given.command in PRINTING:
        _print_with_notes(*PRINTING[given.command](given))
    else:
        run(lambda: _config(given))
    return STOPPED


def _help(_: argparse.Namespace) -> Printed:
    return option_help.help_options(), []


def _convert(given: argparse.Namespace) -> Printed:
    from pt_bridge.cli import conversion

    return conversion.run(given)


def _show(given: argparse.Namespace) -> Printed:
    from pt_bridge.cli import show

    return show.run(given, command_line().parse_args, flags_of)


def _print_with_notes(text: str, notes: list[str]) -> None:
    """Print on stdout what was asked for, and on stderr what it lacks."""
    from pt_bridge.system.log import say
    from pt_bridge.system.scrubber import one_line

    for note in notes:
        say(one_line(f"pt-bridge: note: {note}"))
    print_text(text)


def _check_file(given: argparse.Namespace) -> Printed:
    return run_command.check(given.file)


PRINTING = {
    "help": _help,
    "convert": _convert,
    "show": _show,
    RUN: _check_file,
}


def _doctor(given: argparse.Namespace) -> int:
    """Look at every link of a chain, and print on stdout what is found."""
    from pt_bridge.cli import of_service, read_input
    from pt_bridge.doctor import run
    from pt_bridge.doctor.request import TIMEOUT, Request
    from pt_bridge.files import unit

    options = given.plugin_opts
    if options is None and not given.text:
        options = os.environ.get("SS_PLUGIN_OPTIONS", "")
    text = " ".join(given.text)
    request = Request(
        text=read_input.read(text) if text and not unit.is_unit(text) else "",
        plugin_opts=options,
        local=given.local,
        remote=given.remote,
        flags=flags_of(given),
        through=None if given.through is None else _address(given.through),
        timeout=TIMEOUT if given.timeout is None else _seconds(given.timeout),
        json=given.json,
        with_tor=given.with_tor,
        tor_defaults=given.tor_defaults,
    )
    variables = dict(os.environb)
    if unit.is_unit(text):
        started, parse = unit.read(text), command_line().parse_args
        request, variables = of_service.amend(request, started, parse, flags_of)
    return run.run(request, variables, lambda text: print_text(f"{text}\n"))


def _address(text: str) -> Address:
    try:
        return parse_host_port(text)
    except ProtocolError as error:
        raise UsageError(f"--through is wrong: {error}") from None


def _seconds(text: str) -> float:
    if not SECONDS.fullmatch(text) or float(text) < 1:
        raise UsageError("--timeout must be a number of seconds, at least 1")
    return float(text)


def _config(given: argparse.Namespace) -> Config:
    options = given.plugin_opts
    if options is None:
        options = os.environ.get("SS_PLUGIN_OPTIONS", "")
    flags = flags_of(given)
    local, remote = places.of(given.command, given.local, given.remote, flags)
    variables = variables_from_flags(local=local, remote=remote, plugin_options=options)
    if given.command == SERVER:
        flags["server"] = None
    config = Config(
        variables,
        plugin=False,
        flags=flags,
        is_allowed=lambda option: owner_config.allows(option, os.environb),
        bridges=lambda name: bridges_file.read(name, os.environb),
        program_flags=lambda config, transport: (
            owner_config.wanted(config, os.environb, transport).arguments
        ),
    )
    if config.server != (given.command == SERVER):
        raise UsageError(
            "the plugin options say 'server' and the command says 'client': run "
            "'pt-bridge server', or leave 'server' out"
        )
    return config
