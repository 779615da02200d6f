"""The command that starts shadowsocks: what it says of the server.

shadowsocks-libev's programs (``ss-local -s 192.0.2.1 -p 8388 ...``), those of
shadowsocks-rust (``sslocal -s 192.0.2.1:8388 ...``), and ``pt-bridge client`` itself.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, NamedTuple

from pt_bridge.errors import ProtocolError
from pt_bridge.protocol.address import parse_host_port

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAMS = (
    *("ss-local", "ss-server", "ss-redir", "ss-tunnel", "ss-manager"),
    *("sslocal", "ssserver", "ssservice", "ssmanager"),
    *("shadowsocks-libev.ss-local", "shadowsocks-libev.ss-server", "pt-bridge"),
)
FLAGS = {
    "-s": "server",
    "--server-addr": "server",
    "--remote": "server",
    "-p": "server_port",
    "-b": "local_address",
    "--local-addr": "local_address",
    "--local": "local_address",
    "-l": "local_port",
    "-m": "method",
    "--encrypt-method": "method",
    "-k": "password",
    "--password": "password",
    "--key": "key",
    "--plugin": "plugin",
    "--plugin-opts": "plugin_opts",
}
FILE = ("-c", "--config")
LINK = "--server-url"
# Those that have no value behind them.
ALONE = frozenset(
    {
        *("-u", "-U", "-v", "-vv", "-vvv", "-6", "-d", "-T", "--fast-open", "--mptcp"),
        *("--no-delay", "--reuse-port", "--tcp-no-delay", "--tcp-fast-open"),
        *("--help", "-h", "--unsafe-logging"),
    }
)
# What ends a command in a shell.
END = frozenset({"&", "&&", "||", "|", ";", ">", ">>", "2>&1"})
# A command begins its line, behind a prompt, a unit's key, or what starts it.
COMMAND = re.compile(
    rf"""^[ \t]*(?:[$#%>][ \t]+)?(?:ExecStart=[-+!@]?)?
    (?:(?:sudo|env|exec|nohup|setsid|snap[ ]run)[ \t]+|[A-Z_]+=\S*[ \t]+)*
    (?:docker[ ]run[ ][^\n]*?[ ])?
    ((?:[^\s"'=;]*[/\\])?(?:{"|".join(map(re.escape, PROGRAMS))})(?:\.exe)?
     [ \t]+(?:client[ ]|server[ ]|-)[^\n]*)""",
    re.VERBOSE | re.MULTILINE,
)
BREAK = re.compile(r"\\\r?\n[ \t]*")


class Command(NamedTuple):
    """What a command says.

    Attributes:
        values: as config.json has them.
        link: the ss:// link that it names, or "".
        left_out: the flags that say something else.
    """

    values: dict[str, str]
    link: str
    left_out: list[str]


def find(text: str) -> list[str]:
    """Return the commands in a text, each in a line of its own."""
    joined = BREAK.sub(" ", text)
    return list(dict.fromkeys(match[1] for match in COMMAND.finditer(joined)))


def parse(line: str) -> Command:
    """Read a command.

    Raises:
        ProtocolError: its quotes do not end, a flag lacks its value, or it only names a
            file; no value is shown.
    """
    try:
        words = shlex.split(line)
    except ValueError:
        raise ProtocolError("its quotes do not end: was it copied whole?") from None
    given = list(_pairs(words[1:]))
    link = next((value for flag, value in given if flag == LINK), "")
    command = Command({}, link, [])
    for flag, value in given:
        key = FLAGS.get(flag)
        if key is not None:
            if not value:
                raise ProtocolError(f"'{flag}' in it has no value")
            if command.values.setdefault(key, value) != value:
                raise ProtocolError(f"'{flag}' is in it twice: leave one")
        elif flag != LINK and flag not in FILE:
            command.left_out.append(flag)
    is_empty = not (command.values.keys() & {"server", "plugin_opts"} or command.link)
    if is_empty and any(flag in FILE for flag, _ in given):
        raise ProtocolError(
            "what it says stands in the file behind -c: give that file's name"
        )
    _split(command.values, "server", "server_port")
    _split(command.values, "local_address", "local_port")
    return command


def _pairs(words: list[str]) -> Iterator[tuple[str, str]]:
    """Cut a command's words into flags and their values, "" for those without."""
    rest = iter(words)
    for word in rest:
        if word in END:
            return
        flag, equals, value = word.partition("=")
        if flag.startswith("-") and flag not in ALONE and not equals:
            if flag.startswith("--") or len(flag) == len("-s"):
                value = next(rest, "")
            else:  # -p8388
                flag, value = flag[:2], flag[2:]
        if flag.startswith("-"):
            yield flag, value


def _split(values: dict[str, str], host: str, port: str) -> None:
    """Split ``HOST:PORT``, as shadowsocks-rust and pt-bridge have it."""
    if ":" in values.get(host, "") and port not in values:
        address = parse_host_port(values[host])
        values.update({host: address.host, port: str(address.port)})
