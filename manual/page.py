"""The manual page as text, and as troff.

Whatever the program defines is asked of it: the commands and flags of its parser, the
plugin options, the transports' arguments, the exit codes. So the page cannot drift.
"""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING

from docutils.core import publish_string

from manual import exit_codes
from pt_bridge import __version__
from pt_bridge.cli import option_help
from pt_bridge.cli.parser import command_line
from pt_bridge.options.own_options import OPTIONS
from pt_bridge.options.transports import TRANSPORTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pt_bridge.options.transports import Side

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
# What RST would read as markup.
MARKUP = re.compile(r"([\\*`|_])")


def troff() -> bytes:
    """Create the page for man(1)."""
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
    parser = command_line()
    named = _commands(parser)
    return "\n".join(
        (
            HEAD,
            *(f"| {_usage(each)}" for each in (parser, *named.values())),
            section("DESCRIPTION", literal(parser.description or "")),
            section("COMMANDS", *map(_command, named.values())),
            section("PLUGIN OPTIONS", literal(option_help.OPTIONS_INTRODUCTION)),
            definitions(options()),
            section("PT-BRIDGE.CONF", literal(option_help.OPTIONS_OWNER)),
            section("TRANSPORTS", literal(option_help.OPTIONS_TRANSPORTS)),
            definitions(transports()),
            section("EXIT STATUS", definitions(_exit_codes())),
            section("SIGNALS", definitions(SIGNALS.items())),
            section("ENVIRONMENT", definitions(ENVIRONMENT.items())),
            section("FILES", definitions(FILES.items())),
            section("EXAMPLES", *(_example(*each) for each in EXAMPLES)),
            section("SEE ALSO", "ss-local(1), ss-server(1), tor(1)"),
        )
    )


SIGNALS = {
    "SIGTERM": "stop at once, with exit code 0",
    "SIGHUP": "as a plugin, the same; else open the log file anew, read "
    "pt-bridge.conf (or the file of pt-bridge run) again, and replace a PT that has "
    "changed; nothing is cut",
    "SIGINT": "as a plugin, nothing: it is the host's; else finish what is open, and "
    "stop at the second one",
    "SIGUSR1": "write to the log how it is: uptime, restarts, connections, bytes",
    "SIGUSR2": "as a plugin, nothing; else replace the PT in any case; nothing is cut",
}
ENVIRONMENT = {
    "SS_REMOTE_HOST, SS_REMOTE_PORT": "the server's address (SIP003)",
    "SS_LOCAL_HOST, SS_LOCAL_PORT": "the side of shadowsocks (SIP003)",
    "SS_PLUGIN_OPTIONS": "the plugin options (SIP003)",
    "STATE_DIRECTORY, XDG_STATE_HOME, HOME": "where a server keeps its identity",
    "XDG_CONFIG_HOME, HOME": "where the user's pt-bridge.conf is",
}


FILES = {
    "STATE/TRANSPORT-PORT/": "a server's keys; STATE is $STATE_DIRECTORY/pt-bridge "
    "under systemd ($STATE_DIRECTORY itself where that is called pt-bridge), else "
    "$XDG_STATE_HOME/pt-bridge, else /var/lib/pt-bridge for root and "
    "~/.local/state/pt-bridge for others",
    "STATE/TRANSPORT-PORT/client-options.txt": "the plugin options for its clients",
    "STATE/log/": "what logfile= names",
    "pt-bridge-client-*/": "a client's folder in $RUNTIME_DIRECTORY, "
    "$XDG_RUNTIME_DIR, $TMPDIR or /tmp; gone when it stops",
    "/etc/pt-bridge.conf, ~/.config/pt-bridge.conf": "what plugin options may ask for; "
    "see PT-BRIDGE.CONF",
    "/etc/pt-bridge/NAME.conf": "settings of the units pt-bridge-client@ and "
    "pt-bridge-server@",
}
EXAMPLES = (
    (
        "A server, and the options that its clients need:",
        """\
ss-server -s 0.0.0.0 -p 8388 -k PASSWORD -m aes-128-gcm \\
    --plugin pt-bridge --plugin-opts "server;transport=obfs4"
cat /var/lib/pt-bridge/obfs4-8388/client-options.txt
""",
    ),
    (
        "A client with that line, and a web page through it:",
        """\
ss-local -s SERVER -p 8388 -l 1080 -k PASSWORD -m aes-128-gcm \\
    --plugin pt-bridge \\
    --plugin-opts "transport=obfs4;session=1;cert=...;iat-mode=0"
curl --proxy socks5h://127.0.0.1:1080 https://example.com/
""",
    ),
    ("Find out why nothing comes through:", "pt-bridge doctor config.json\n"),
    (
        "A bridge line as plugin options:",
        'pt-bridge convert "Bridge obfs3 198.51.100.7:8443" --to options\n',
    ),
    (
        "For a program that cannot run plugins:",
        """\
pt-bridge client --local 127.0.0.1:8388 --remote SERVER:8388 \\
    --plugin-opts "transport=obfs4;session=1;cert=...;iat-mode=0"
""",
    ),
    (
        "Ask a running pt-bridge how it is, and no other process:",
        "pkill -USR1 -x pt-bridge\n",
    ),
)


def _example(what: str, commands: str) -> str:
    return f"{what}\n\n{literal(commands)}"


def _commands(
    parser: argparse.ArgumentParser,
) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    raise AssertionError  # it has commands


def _usage(parser: argparse.ArgumentParser) -> str:
    usage = " ".join(parser.format_usage().removeprefix("usage: ").split())
    return plain(usage)


def _command(parser: argparse.ArgumentParser) -> str:
    name = parser.prog
    flags = [
        (_invocation(action), action.help or "")
        for action in parser._actions
        if action.help != argparse.SUPPRESS
    ]
    what = plain(parser.description or "")
    return "\n".join((name, "-" * len(name), "", what, "", definitions(flags)))


def _invocation(action: argparse.Action) -> str:
    words = ", ".join(action.option_strings)
    value = action.metavar or "|".join(action.choices or ())
    if not action.option_strings:
        return str(value)
    return words if action.nargs == 0 else f"{words} {value}"


def options() -> Iterator[tuple[str, str]]:
    """List pt-bridge's own options, and what each means."""
    for option in OPTIONS.values():
        name = f"{option.name}={option.value}" if option.value else option.name
        yield name, f"{option.meaning}{option.limits}"


def transports() -> Iterator[tuple[str, str]]:
    """List the transports, and what clients of each need."""
    for name, transport in TRANSPORTS.items():
        yield name, f"clients need: {_needs(transport.client)}"


def _needs(side: Side) -> str:
    return ", or ".join(" + ".join(sorted(need)) for need in side.needs) or "nothing"


def _exit_codes() -> Iterator[tuple[str, str]]:
    for code, what in exit_codes.sentences():
        yield code, what.replace("``", "")


def definitions(rows: Iterable[tuple[str, str]]) -> str:
    """Write a list of terms, each with what it means."""
    return "\n".join(f"{plain(term)}\n    {plain(what)}\n" for term, what in rows)


def section(title: str, *parts: str) -> str:
    """Write a section with its title."""
    return "\n".join(("", title, "=" * len(title), "", *parts))


def literal(text: str) -> str:
    """Write lines that are shown as they are."""
    lines = "\n".join(f"    {line}".rstrip() for line in text.strip("\n").split("\n"))
    return f"::\n\n{lines}\n"


def plain(text: str) -> str:
    """Return a text in which nothing is markup."""
    return MARKUP.sub(r"\\\1", text)
