"""The commands for people: client, server, convert, show, doctor, help."""

from __future__ import annotations

import argparse
import os
import re
from typing import TYPE_CHECKING

from pt_bridge import __version__
from pt_bridge.cli import exit_codes, option_help, places, run_command
from pt_bridge.cli.parser import QR, GoneAction, Parser
from pt_bridge.errors import STOPPED, ProtocolError, UsageError
from pt_bridge.files import bridges_file, owner_config
from pt_bridge.options.config import Config
from pt_bridge.options.option_values import BETWEEN
from pt_bridge.options.own_options import CLIENT, GONE, OPTIONS, SERVER
from pt_bridge.options.ss_variables import variables_from_flags
from pt_bridge.plans.plan import TOR_BEHIND
from pt_bridge.profiles.forms import FORMS
from pt_bridge.protocol.address import parse_host_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pt_bridge.options.own_options import OwnOption
    from pt_bridge.plans.plan import Plan
    from pt_bridge.plans.tunnels_file import TunnelsFile
    from pt_bridge.protocol.address import Address

    Printed = tuple[str, list[str]]
    ReadFile = tuple[TunnelsFile, Sequence[tuple[Plan, Config]]]

STDOUT = 1
DOCTOR = "doctor"
SECONDS = re.compile(r"[0-9]{1,6}(?:\.[0-9]{1,3})?")
DESCRIPTION = """\
Tor's Pluggable Transports (obfs4proxy, lyrebird, webtunnel, snowflake, ...) as a
shadowsocks plugin. shadowsocks starts it by itself:

  ss-server ... --plugin pt-bridge --plugin-opts "server;transport=obfs4"
  ss-local  ... --plugin pt-bridge \\
      --plugin-opts "transport=obfs4;session=1;cert=...;iat-mode=0"

For programs that cannot run plugins, the commands below do the same.
"""
DOCTOR_DESCRIPTION = """\
Look at every link of the chain on this machine, from the options to the server's
answer, until one is broken; say why, and what to try next. Plugin options with 'server'
in them are a server's, all others a client's.
"""


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
    given = parser().parse_args(arguments)
    if given.command is None:
        raise UsageError("say what to be: client or server")
    if given.command == DOCTOR:
        return _doctor(given)
    if given.command == run_command.NAME and not given.check:
        run_several(lambda: run_command.read(given.file))
    elif given.command in PRINTING:
        _print_with_notes(*PRINTING[given.command](given))
    else:
        run(lambda: _config(given))
    return STOPPED


def _print(text: str) -> None:
    data = text.encode()
    try:
        while data:
            data = data[os.write(STDOUT, data) :]
    except BrokenPipeError:  # `... | head`
        pass
    except OSError as error:
        raise UsageError(f"cannot write to standard output: {error.strerror}") from None


def _help(_: argparse.Namespace) -> Printed:
    return option_help.help_options(), []


def _convert(given: argparse.Namespace) -> Printed:
    from pt_bridge.cli import conversion

    return conversion.run(given)


def _show(given: argparse.Namespace) -> Printed:
    from pt_bridge.cli import show

    return show.run(given, parser().parse_args, _flags)


def _print_with_notes(text: str, notes: list[str]) -> None:
    """Print on stdout what was asked for, and on stderr what it lacks."""
    from pt_bridge.system.log import say
    from pt_bridge.system.scrubber import one_line

    for note in notes:
        say(one_line(f"pt-bridge: note: {note}"))
    _print(text)


def _check_file(given: argparse.Namespace) -> Printed:
    return run_command.check(given.file)


PRINTING = {
    "help": _help,
    "convert": _convert,
    "show": _show,
    run_command.NAME: _check_file,
}


def _doctor(given: argparse.Namespace) -> int:
    """Look at every link of a chain, and print on stdout what is found."""
    from pt_bridge.cli import of_service, read_input
    from pt_bridge.doctor import run, unit

    options = given.plugin_opts
    if options is None and not given.text:
        options = os.environ.get("SS_PLUGIN_OPTIONS", "")
    text = " ".join(given.text)
    request = run.Request(
        text=read_input.read(text) if text and not unit.is_unit(text) else "",
        plugin_opts=options,
        local=given.local,
        remote=given.remote,
        flags=_flags(given),
        through=None if given.through is None else _address(given.through),
        timeout=run.TIMEOUT if given.timeout is None else _seconds(given.timeout),
        json=given.json,
        with_tor=given.with_tor,
        tor_defaults=given.tor_defaults,
    )
    variables = dict(os.environb)
    if unit.is_unit(text):
        started, parse = unit.read(text), parser().parse_args
        request, variables = of_service.amend(request, started, parse, _flags)
    return run.run(request, variables, lambda text: _print(f"{text}\n"))


def _address(text: str) -> Address:
    try:
        return parse_host_port(text)
    except ProtocolError as error:
        raise UsageError(f"--through is wrong: {error}") from None


def _seconds(text: str) -> float:
    if not SECONDS.fullmatch(text) or float(text) < 1:
        raise UsageError("--timeout must be a number of seconds, at least 1")
    return float(text)


def _flags(given: argparse.Namespace) -> dict[str, str | None]:
    """Return our own options, where they were given as flags."""
    return {
        name: _text(value)
        for name, value in vars(given).items()
        if name in OPTIONS and value
    }


def _text(value: object) -> str | None:
    """Return a flag's value as options have it: None for one that has none."""
    if isinstance(value, list):
        return BETWEEN.join(value)
    return value if isinstance(value, str) else None


def _config(given: argparse.Namespace) -> Config:
    options = given.plugin_opts
    if options is None:
        options = os.environ.get("SS_PLUGIN_OPTIONS", "")
    flags = _flags(given)
    local, remote = places.of(given.command, given.local, given.remote, flags)
    variables = variables_from_flags(local=local, remote=remote, plugin_options=options)
    if given.command == SERVER:
        flags["server"] = None
    config = Config(
        variables,
        plugin=False,
        flags=flags,
        may=lambda option: owner_config.allows(option, os.environb),
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


def parser() -> Parser:
    """Create what reads the command line; the manual page is made from it, too."""
    parser = Parser(
        prog="pt-bridge",
        description=DESCRIPTION,
        epilog=exit_codes.brief(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--version", action="version", version=f"pt-bridge {__version__}"
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    _add_role(commands, CLIENT, "listen on --local, reach the server at --remote")
    _add_role(commands, SERVER, "listen on --remote, pass connections on to --local")
    run_command.add_parser(commands)
    _add_convert(commands)
    _add_show(commands)
    _add_doctor(commands)
    helper = commands.add_parser("help", help="explain the plugin options")
    helper.add_argument("topic", choices=["options"], nargs="?", metavar="TOPIC")
    return parser


def _add_role(
    commands: argparse._SubParsersAction[Parser], role: str, what: str
) -> None:
    parser = commands.add_parser(role, help=what, description=what, allow_abbrev=False)
    local, remote = "listen here, for your program", "connect there: the server"
    if role == SERVER:
        local, remote = "connect there: your program", "listen here, for clients"
    for flag, meaning in (("--local", local), ("--remote", remote)):
        parser.add_argument(flag, metavar="HOST:PORT", help=meaning)
    parser.add_argument(
        "--plugin-opts",
        metavar="OPTIONS",
        help="as shadowsocks has them; without it, SS_PLUGIN_OPTIONS, which ps hides",
    )
    _add_flags(
        parser, (option for option in OPTIONS.values() if option.side in ("", role))
    )


def _add_flags(parser: Parser, options: Iterable[OwnOption]) -> None:
    """Add our own options, but for the role, which is a command."""
    for option in options:
        if option.name == SERVER:
            continue
        flag = f"--{option.name}"
        if option.value:
            parser.add_argument(
                flag,
                dest=option.name,
                metavar=option.value,
                action="append" if option.is_repeatable else "store",
                help=option.meaning,
            )
        else:
            parser.add_argument(
                flag, dest=option.name, action="store_true", help=option.meaning
            )
    for name in GONE:
        parser.add_argument(
            f"--{name}", action=GoneAction, nargs="?", help=argparse.SUPPRESS
        )


def _add_convert(commands: argparse._SubParsersAction[Parser]) -> None:
    what = "turn a bridge line, plugin options, an ss:// link or JSON into each other"
    parser = commands.add_parser(
        "convert",
        help=what,
        description=f"{what[0].upper()}{what[1:]}.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "text",
        nargs="+",
        metavar="TEXT",
        help="any of these, or a text around one; a file; - for stdin",
    )
    parser.add_argument(
        "--to", required=True, choices=(*FORMS, QR), help="what to write, on stdout"
    )
    for flag, metavar, meaning in (
        ("--remote", "HOST:PORT", "the server, if TEXT does not name it"),
        ("--method", "NAME", "shadowsocks's cipher, likewise"),
        ("--password", "TEXT", "shadowsocks's password, likewise"),
        ("--local", "HOST:PORT", "where ss-local listens (127.0.0.1:1080)"),
        ("--client-options", "FILE", "a server's client-options.txt, for its clients"),
        ("--output", "FILE", "with --to qr: a .png or .svg instead of the terminal"),
    ):
        parser.add_argument(flag, metavar=metavar, help=meaning)


def _add_show(commands: argparse._SubParsersAction[Parser]) -> None:
    what = "show what a server's clients need: options, link and QR code"
    parser = commands.add_parser(
        "show",
        help=what,
        description=f"{what[0].upper()}{what[1:]}.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "what",
        metavar="WHAT",
        help="a server: its systemd unit, as shadowsocks-libev; NAME of "
        "/etc/pt-bridge/NAME.conf; a config.json; a FILE.toml",
    )
    parser.add_argument("name", metavar="NAME", nargs="?", help="in a FILE.toml")
    meaning = "the server, as its clients reach it"
    parser.add_argument("--remote", metavar="HOST:PORT", help=meaning)
    meaning = "the QR code into a .png or .svg, not the terminal"
    parser.add_argument("--output", metavar="FILE", help=meaning)


def _add_doctor(commands: argparse._SubParsersAction[Parser]) -> None:
    what = "find what is broken between here and there"
    parser = commands.add_parser(
        DOCTOR,
        help=what,
        description=DOCTOR_DESCRIPTION,
        epilog=exit_codes.brief(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "text",
        nargs="*",
        metavar="WHAT",
        help="config.json, an ss:// link, a bridge line, plugin options; a systemd "
        "unit, as pt-bridge-server@NAME; - for stdin",
    )
    for flag, metavar, meaning in (
        ("--plugin-opts", "OPTIONS", "in the place of those in WHAT"),
        ("--remote", "HOST:PORT", "the server, if WHAT does not name it"),
        ("--local", "HOST:PORT", "server: where shadowsocks takes connections"),
        ("--through", "HOST:PORT", "client: ask this web server through shadowsocks"),
        ("--timeout", "SECONDS", "how long all of it may take (120)"),
        ("--tor-defaults", "FILE", "more of that tor's torrc, as a test network's"),
    ):
        parser.add_argument(flag, metavar=metavar, help=meaning)
    for flag, meaning in (
        ("--json", "print one JSON object a line"),
        ("--with-tor", "a Tor bridge: start a tor for a moment, with it alone"),
    ):
        parser.add_argument(flag, action="store_true", help=meaning)
    shown = (each for each in OPTIONS.values() if not each.is_flag_only)
    _add_flags(parser, [*shown, *(OPTIONS[name] for name in TOR_BEHIND)])
