"""The command line: the commands and their flags, and what its mistakes are called.

Its mistakes are sentences like the rest of the program's.
"""

from __future__ import annotations

import argparse
import os
import re
import select
from typing import TYPE_CHECKING, NoReturn

from pt_bridge import __version__
from pt_bridge.cli import exit_codes
from pt_bridge.errors import UsageError
from pt_bridge.options.option_values import BETWEEN
from pt_bridge.options.own_options import CLIENT, GONE, OPTIONS, SERVER
from pt_bridge.plans.plan import TOR_BEHIND
from pt_bridge.profiles.forms import FORMS
from pt_bridge.text.spelling import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pt_bridge.options.own_options import OwnOption

STDOUT = 1
QR = "qr"
DOCTOR, RUN = "doctor", "run"
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
# The name of a flag, without the value, which may be a secret.
FLAG = re.compile(r"(?<!\S)--[a-z][a-z-]*(?![^\s=])")
REQUIRED = "the following arguments are required"  # their names follow, and no value


def print_text(text: str) -> None:
    """Write to stdout, however long that takes.

    Raises:
        UsageError: it cannot be written; that nobody reads it is no error.
    """
    data = text.encode()
    while data:
        try:
            data = data[os.write(STDOUT, data) :]
        except BlockingIOError:  # as somebody who shares it has made it
            poll = select.poll()
            poll.register(STDOUT, select.POLLOUT)
            poll.poll()
        except BrokenPipeError:  # `... | head`
            return
        except OSError as error:
            raise UsageError(
                f"cannot write to standard output: {error.strerror}"
            ) from None


class Parser(argparse.ArgumentParser):
    """A parser that reports mistakes, and prints, as the rest of the program does."""

    def _print_message(self, message: str, file: object = None) -> None:
        print_text(message)

    def error(self, message: str) -> NoReturn:
        """Raise it, instead of exiting with 2; the words themselves may be secrets."""
        what = message if message.startswith(REQUIRED) else message.partition(":")[0]
        if what == "argument COMMAND":
            what = (
                "there is no such command: say client, server, run, convert, show, "
                "doctor or help"
            )
        elif what == "argument --to":
            what = f"--to must be one of: {', '.join((*FORMS, QR))}"
        elif what == "unrecognized arguments":
            flags = FLAG.findall(message)
            names = " ".join(flags) or "flags are --name VALUE, and nothing else is"
            what = f"{what}: {names}{self._did_you_mean(flags)}"
        elif what == "argument TOPIC":
            what = "there is help on one topic only: say 'pt-bridge help options'"
        raise UsageError(f"{what}; see '{self.prog} --help'")

    def _did_you_mean(self, flags: Sequence[str]) -> str:
        known = [flag[2:] for flag in self._option_string_actions if flag[:2] == "--"]
        for flag in flags:
            if hint := did_you_mean(flag[2:], known):
                return hint.replace("'", "'--", 1)
        return ""

    def parse_known_args(  # type: ignore[override]
        self,
        args: Sequence[str] | None = None,
        namespace: argparse.Namespace | None = None,
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse, and let the command itself report what it does not know.

        argparse leaves that to the program's own parser, which knows no flags.
        """
        given, rest = super().parse_known_args(args, namespace)
        if rest:
            self.error(f"unrecognized arguments: {' '.join(rest)}")
        return given, rest


class GoneAction(argparse.Action):
    """Says what to write instead of a flag of an older version."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> NoReturn:
        """Raise it."""
        raise UsageError(GONE[self.dest])


def command_line() -> Parser:
    """Create the parser of our command line; the manual page is made from it, too."""
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
    _add_run(commands)
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


def _add_run(commands: argparse._SubParsersAction[Parser]) -> None:
    what = "be all the tunnels that a file names, in one process"
    parser = commands.add_parser(
        RUN,
        help=what,
        description=f"{what[0].upper()}{what[1:]}. The file is TOML: docs/run.rst.",
        allow_abbrev=False,
    )
    parser.add_argument("file", metavar="FILE", help="the file")
    parser.add_argument(
        "--check", action="store_true", help="only say whether the file is right"
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


def flags_of(given: argparse.Namespace) -> dict[str, str | None]:
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
