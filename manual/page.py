"""The manual page as text, and as troff.

Whatever the program defines is asked of it: the commands and flags of its parser, the
plugin options, the transports' arguments, the exit codes. So the page cannot drift.
"""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING

from docutils.core import publish_string

from pt_bridge import __version__, command_line
from pt_bridge.own_options import OPTIONS
from pt_bridge.transports import TRANSPORTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pt_bridge.transports import Side

HEAD = f"""\
=========
pt-bridge
=========

--------------------------------------------------
Tor's Pluggable Transports as a shadowsocks plugin
--------------------------------------------------

:Manual section: 1
:Version: pt-bridge {__version__}

SYNOPSIS
========
"""
CODE = re.compile(r"(\d+(?:, \d+)*) ([^;]+)")
# What RST would read as markup.
MARKUP = re.compile(r"([\\*`|_])")


def troff() -> bytes:
    """Make the page for man(1)."""
    page: bytes = publish_string(
        text(),
        writer="manpage",
        settings_overrides={"report_level": 2, "halt_level": 2, "datestamp": None},
    )
    # The first lines name the tool that made it.
    return b"".join(
        line for line in page.splitlines(keepends=True) if b"docutils" not in line
    )


def text() -> str:
    """Write the page in reStructuredText."""
    parser = command_line.parser()
    commands = _commands(parser)
    return "\n".join(
        (
            HEAD,
            *(f"| {_usage(each)}" for each in (parser, *commands.values())),
            _section("DESCRIPTION", _literal(parser.description or "")),
            _section("COMMANDS", *map(_command, commands.values())),
            _section("PLUGIN OPTIONS", _literal(command_line.OPTIONS_INTRODUCTION)),
            _definitions(_options()),
            _section("PT-BRIDGE.CONF", _literal(command_line.OPTIONS_OWNER)),
            _section("TRANSPORTS", _literal(command_line.OPTIONS_TRANSPORTS)),
            _definitions(_transports()),
            _section("EXIT STATUS", _definitions(_exit_codes())),
            _section("SIGNALS", _definitions(SIGNALS.items())),
            _section("ENVIRONMENT", _definitions(ENVIRONMENT.items())),
            _section("SEE ALSO", "ss-local(1), ss-server(1), tor(1)"),
        )
    )


SIGNALS = {
    "SIGTERM, SIGHUP": "stop at once, with exit code 0",
    "SIGINT": "as a plugin, nothing: it is the host's; else finish what is open, and "
    "stop at the second one",
    "SIGUSR1": "write to the log how it is: uptime, restarts, connections, bytes",
}
ENVIRONMENT = {
    "SS_REMOTE_HOST, SS_REMOTE_PORT": "the server's address (SIP003)",
    "SS_LOCAL_HOST, SS_LOCAL_PORT": "the side of shadowsocks (SIP003)",
    "SS_PLUGIN_OPTIONS": "the plugin options (SIP003)",
    "STATE_DIRECTORY, XDG_STATE_HOME, HOME": "where a server keeps its identity",
    "XDG_CONFIG_HOME, HOME": "where the user's pt-bridge.conf is",
}


def _commands(
    parser: argparse.ArgumentParser,
) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    raise AssertionError  # it has commands


def _usage(parser: argparse.ArgumentParser) -> str:
    usage = " ".join(parser.format_usage().removeprefix("usage: ").split())
    return _plain(usage)


def _command(parser: argparse.ArgumentParser) -> str:
    name = parser.prog
    flags = [
        (_invocation(action), action.help or "")
        for action in parser._actions
        if action.help != argparse.SUPPRESS
    ]
    what = _plain(parser.description or "")
    return "\n".join((name, "-" * len(name), "", what, "", _definitions(flags)))


def _invocation(action: argparse.Action) -> str:
    words = ", ".join(action.option_strings)
    value = action.metavar or "|".join(action.choices or ())
    if not action.option_strings:
        return str(value)
    return words if action.nargs == 0 else f"{words} {value}"


def _options() -> Iterator[tuple[str, str]]:
    for option in OPTIONS.values():
        name = f"{option.name}={option.value}" if option.value else option.name
        side = f" ({option.side} only)" if option.side else ""
        yield name, f"{option.meaning}{side}"


def _transports() -> Iterator[tuple[str, str]]:
    for name, transport in TRANSPORTS.items():
        yield name, f"clients need: {_needs(transport.client)}"


def _needs(side: Side) -> str:
    return ", or ".join(" + ".join(sorted(need)) for need in side.needs) or "nothing"


def _exit_codes() -> Iterator[tuple[str, str]]:
    for codes, meaning in CODE.findall(command_line.EXIT_CODES):
        yield codes, " ".join(meaning.split())


def _definitions(rows: Iterable[tuple[str, str]]) -> str:
    return "\n".join(f"{_plain(term)}\n    {_plain(what)}\n" for term, what in rows)


def _section(title: str, *parts: str) -> str:
    return "\n".join(("", title, "=" * len(title), "", *parts))


def _literal(text: str) -> str:
    lines = "\n".join(f"    {line}".rstrip() for line in text.strip("\n").split("\n"))
    return f"::\n\n{lines}\n"


def _plain(text: str) -> str:
    return MARKUP.sub(r"\\\1", text)
