"""The commands for people: client, server, convert, doctor, help."""

from __future__ import annotations

import argparse
import os
import re
import signal
from typing import TYPE_CHECKING, NoReturn

from pt_bridge import __version__, owner
from pt_bridge.config import Config, variables_from_flags
from pt_bridge.errors import ConfigError, ProtocolError, UsageError
from pt_bridge.own_options import CLIENT, OPTIONS, OWNERS_FILES, SERVER
from pt_bridge.protocol.address import parse_host_port
from pt_bridge.transports import TRANSPORTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pt_bridge.own_options import OwnOption
    from pt_bridge.protocol.address import Address

STDOUT = 1
DOCTOR = "doctor"
SECONDS = re.compile(r"[0-9]{1,6}(?:\.[0-9]{1,3})?")
# `forms.FORMS`, which takes long to import.
FORMS = ("bridge", "options", "link", "json")
# The name of a flag, without the value, which may be a secret.
FLAG = re.compile(r"(?<!\S)--[a-z][a-z-]*(?![^\s=])")
REQUIRED = "the following arguments are required"  # their names follow, and no value
DESCRIPTION = """\
Tor's Pluggable Transports (obfs4proxy, lyrebird, webtunnel, snowflake, ...) as a
shadowsocks plugin. shadowsocks starts it by itself:

  ss-server ... --plugin pt-bridge --plugin-opts "server;transport=obfs4"
  ss-local  ... --plugin pt-bridge --plugin-opts "transport=obfs4;cert=...;iat-mode=0"

For programs that cannot run plugins, the commands below do the same.
"""
EXIT_CODES = """\
exit codes: 0 asked to stop; 64 usage; 65 plugin options; 69 transport or proxy refused;
70 bug; 71 PT program; 73 state directory; 74 port; 75 PT late or dead;
76 PT misbehaves; 78 pt-bridge.conf; and doctor's alone: 66 no answer, or no shadowsocks
server; 68 no way to the server; 77 the server does not let us in; 130, 143 a signal
"""
DOCTOR_DESCRIPTION = """\
Look at every link of the chain on this machine, from the options to the server's
answer, until one is broken; say why, and what to try next. Plugin options with 'server'
in them are a server's, all others a client's.
"""
OPTIONS_INTRODUCTION = """\
Plugin options: key=value pairs joined with ';'. Write \\; \\= \\\\ for ; = \\ in a key
or a value; a bare = in a value is fine. In JSON write each \\ twice.

pt-bridge's own:
"""
OPTIONS_OWNER = f"""
Since links carry plugin options, what only a flag may say, and programs that pt-bridge
does not know, need a line in {OWNERS_FILES}:

  ClientTransportPlugin NAME[,NAME] exec PATH ARGUMENTS
  ServerTransportPlugin NAME[,NAME] exec PATH ARGUMENTS
  AllowPluginOption NAME   state, logfile, loglevel or unsafe-logging
  %include PATH            take such lines from a torrc, or a pt_config.json
"""
OPTIONS_TRANSPORTS = """
Every other option is an argument for the transport, and goes to the PT as it is;
arg-NAME=VALUE sends NAME even where pt-bridge has an option of that name.

Arguments that clients need. A server writes its clients' whole line, these included,
to client-options.txt in its state directory:
"""


class Parser(argparse.ArgumentParser):
    """A parser that reports mistakes as the rest of the program does."""

    def error(self, message: str) -> NoReturn:
        """Raise it, instead of exiting with 2; the words themselves may be secrets."""
        what = message if message.startswith(REQUIRED) else message.partition(":")[0]
        if what == "argument COMMAND":
            what = (
                "there is no such command: say client, server, convert, doctor or help"
            )
        elif what == "argument --to":
            what = f"--to must be one of: {', '.join(FORMS)}"
        elif what == "unrecognized arguments":
            flags = " ".join(FLAG.findall(message))
            what = f"{what}: {flags or 'flags are --name VALUE, and nothing else is'}"
        raise UsageError(f"{what}; see '{self.prog} --help'")


def main(arguments: Sequence[str], run: Callable[[Callable[[], Config]], int]) -> int:
    """Do what the command line asks for.

    Args:
        arguments: the command line without the program's name.
        run: runs the bridge that a configuration asks for; gives the exit code.

    Returns:
        The exit code.
    """
    try:
        given = parser().parse_args(arguments)
    except UsageError as error:
        return run(_raises(error))
    if given.command in PRINTING:
        try:
            PRINTING[given.command](given)
        except ConfigError as error:
            return run(_raises(error))
        return 0
    if given.command is None:
        return run(_raises(UsageError("say what to be: client or server")))
    if given.command == DOCTOR:
        try:
            return _doctor(given)
        except ConfigError as error:
            return run(_raises(error))
    return run(lambda: _config(given))


def _print(text: str) -> None:
    data = text.encode()
    try:
        while data:
            data = data[os.write(STDOUT, data) :]
    except BrokenPipeError:  # `... | head`
        pass
    except OSError as error:
        raise UsageError(f"cannot write to standard output: {error.strerror}") from None


def _help(_: argparse.Namespace) -> None:
    _print(help_options())


def _convert(given: argparse.Namespace) -> None:
    """Print on stdout what was asked for, and on stderr what it lacks."""
    from pt_bridge import forms, source
    from pt_bridge.log import say
    from pt_bridge.scrubber import one_line

    # Somebody may be typing: Ctrl-C simply ends it.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    profile = forms.amend(
        forms.read(source.read(" ".join(given.text))),
        remote=given.remote,
        local=given.local,
        method=given.method,
        password=given.password,
    )
    text = forms.write(profile, given.to)
    for note in forms.notes(profile, given.to):
        say(one_line(f"pt-bridge: note: {note}"))
    _print(f"{text}\n")


PRINTING = {"help": _help, "convert": _convert}


def _raises(error: ConfigError) -> Callable[[], Config]:
    def fail() -> Config:
        raise error

    return fail


def _doctor(given: argparse.Namespace) -> int:
    """Look at every link of a chain, and print on stdout what is found."""
    # Somebody may be typing: Ctrl-C simply ends it.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from pt_bridge import doctor, source

    options = given.plugin_opts
    if options is None and not given.text:
        options = os.environ.get("SS_PLUGIN_OPTIONS", "")
    request = doctor.Request(
        text=source.read(" ".join(given.text)) if given.text else "",
        plugin_opts=options,
        local=given.local,
        remote=given.remote,
        flags=_flags(given),
        through=None if given.through is None else _address(given.through),
        timeout=doctor.TIMEOUT if given.timeout is None else _seconds(given.timeout),
        json=given.json,
    )
    return doctor.run(request, os.environb, lambda text: _print(f"{text}\n"))


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
    """Give our own options, where they were given as flags."""
    return {
        name: value if OPTIONS[name].value else None
        for name, value in vars(given).items()
        if name in OPTIONS and value
    }


def _config(given: argparse.Namespace) -> Config:
    options = given.plugin_opts
    if options is None:
        options = os.environ.get("SS_PLUGIN_OPTIONS", "")
    variables = variables_from_flags(
        local=given.local, remote=given.remote, plugin_options=options
    )
    flags = _flags(given)
    if given.command == SERVER:
        flags["server"] = None
    config = Config(
        variables,
        plugin=False,
        flags=flags,
        may=lambda option: owner.allows(option, os.environb),
    )
    if config.server != (given.command == SERVER):
        raise UsageError(
            "the plugin options say 'server' and the command says 'client': run "
            "'pt-bridge server', or leave 'server' out"
        )
    return config


def parser() -> Parser:
    """Make what reads the command line; the manual page is made from it, too."""
    parser = Parser(
        prog="pt-bridge",
        description=DESCRIPTION,
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--version", action="version", version=f"pt-bridge {__version__}"
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    _add_role(commands, CLIENT, "listen on --local, reach the server at --remote")
    _add_role(commands, SERVER, "listen on --remote, pass connections on to --local")
    _add_convert(commands)
    _add_doctor(commands)
    helper = commands.add_parser("help", help="explain the plugin options")
    helper.add_argument("topic", choices=["options"], nargs="?")
    return parser


def _add_role(
    commands: argparse._SubParsersAction[Parser], role: str, what: str
) -> None:
    parser = commands.add_parser(role, help=what, description=what, allow_abbrev=False)
    parser.add_argument(
        "--local", required=True, metavar="HOST:PORT", help="the side of your program"
    )
    parser.add_argument(
        "--remote", required=True, metavar="HOST:PORT", help="the side of the Internet"
    )
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
                flag, dest=option.name, metavar=option.value, help=option.meaning
            )
        else:
            parser.add_argument(
                flag, dest=option.name, action="store_true", help=option.meaning
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
        "text", nargs="+", metavar="TEXT", help="any of these; FILE.json; - for stdin"
    )
    parser.add_argument(
        "--to", required=True, choices=FORMS, help="what to write, on stdout"
    )
    for flag, metavar, meaning in (
        ("--remote", "HOST:PORT", "the server, if TEXT does not name it"),
        ("--method", "NAME", "shadowsocks's cipher, likewise"),
        ("--password", "TEXT", "shadowsocks's password, likewise"),
        ("--local", "HOST:PORT", "where ss-local listens (127.0.0.1:1080)"),
    ):
        parser.add_argument(flag, metavar=metavar, help=meaning)


def _add_doctor(commands: argparse._SubParsersAction[Parser]) -> None:
    what = "find what is broken between here and there"
    parser = commands.add_parser(
        DOCTOR,
        help=what,
        description=DOCTOR_DESCRIPTION,
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "text",
        nargs="*",
        metavar="WHAT",
        help="config.json, an ss:// link, a bridge line, plugin options; - for stdin",
    )
    for flag, metavar, meaning in (
        ("--plugin-opts", "OPTIONS", "in the place of those in WHAT"),
        ("--remote", "HOST:PORT", "the side of the Internet, if WHAT does not name it"),
        ("--local", "HOST:PORT", "server: where shadowsocks takes connections"),
        ("--through", "HOST:PORT", "client: ask this web server through shadowsocks"),
        ("--timeout", "SECONDS", "how long all of it may take (120)"),
    ):
        parser.add_argument(flag, metavar=metavar, help=meaning)
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object a line"
    )
    _add_flags(parser, OPTIONS.values())


def help_options() -> str:
    """Explain the plugin options."""
    lines = [OPTIONS_INTRODUCTION]
    for option in OPTIONS.values():
        name = f"{option.name}={option.value}" if option.value else option.name
        side = f" ({option.side} only)" if option.side else ""
        lines.append(f"  {name:24} {option.meaning}{side}\n")
    lines += [OPTIONS_OWNER, OPTIONS_TRANSPORTS]
    for name, transport in TRANSPORTS.items():
        needs = ", or ".join(
            " + ".join(sorted(need)) for need in transport.client.needs
        )
        lines.append(f"  {name:24} {needs or 'none'}\n")
    return "".join(lines)
