"""Settings of a server, one a line: YAML, UCI, the environment, a panel's page.

::

    plugin_opts: transport=obfs4;...          YAML
    option plugin_opts 'transport=...'        UCI (OpenWrt)
    SS_PLUGIN_OPTIONS="transport=..."         the environment
    Server Port : 8388                        what scripts print for people

Keys are read in any case, with ``-``, ``_`` or a blank in them, or none. What nobody
knows is left out.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from pt_bridge.errors import ProtocolError

# What people and programs call the keys of config.json, without what joins the words.
NAMES = {
    "server": "server serverip serveripaddress serveraddr serveraddress address host "
    "hostname ip ipaddress remote remotehost ssremotehost serverhost endpoint",
    "server_port": "serverport port remoteport ssremoteport",
    "method": "method cipher encryption encryptmethod encryptionmethod",
    "password": "password passwd pass pwd secret",
    "plugin": "plugin",
    "plugin_opts": "pluginopts pluginoptions pluginopt ssplugins sspluginoptions",
    "local_address": "localaddress localaddr sslocalhost",
    "local_port": "localport sslocalport",
    "remarks": "name remark remarks alias",
}
KEYS = {alias: key for key, names in NAMES.items() for alias in names.split()}
# One of these says enough; of the others it takes two.
TELLING = "plugin_opts"
SERVERS = frozenset({"server", "server_port", "method", "password"})
ENOUGH = 2
LINE = re.compile(
    r"""^[ \t]*(?:[-*\u2022][ \t]+)?(?:\d+[.)][ \t]+)?   # a list's mark
    (?:(?:export|uci[ \t]+set|Environment=)[ \t]*)?
    (?P<quote>["']?)(?:[\w@\[\]-]+\.)*                     # UCI's file and section
    (?P<key>(?!type\b)[A-Za-z][A-Za-z_-]*(?:[ ][A-Za-z]+){0,3})["']?
    [ \t]*[:=][ \t]*(?P<value>.*)$""",
    re.VERBOSE,
)
UCI = re.compile(
    r"^[ \t]*option[ \t]+(?P<quote>)(?P<key>[A-Za-z][\w-]*)[ \t]+(?P<value>.*)$"
)
# A value in quotes, as YAML and JSON have it, and what may stand behind it.
QUOTED = re.compile(
    r"""(?:"(?P<double>(?:[^"\\]|\\.)*)"|'(?P<single>(?:[^']|'')*)')"""
    r"""[ \t]*[,;]?[ \t]*["']?[ \t]*(?:\#.*)?"""
)
# Comments, and what says whose settings they are, or of what kind.
SAYS_NOTHING = re.compile(
    r"""\s*(?:[#;].*|config\s+\S+(?:\s+\S+)?|\[[^\]]*\]|[\w-]+:|(?:-\s+)?type:.*)?\s*"""
)
# What Clash's lists say of each: only one kind is ours.
KIND = re.compile(r"[ \t]*(?:-[ \t]+)?type:[ \t]*[\"']?([A-Za-z][\w-]*)[\"']?[ \t]*$")
SHADOWSOCKS = ("ss", "shadowsocks")
# Clash writes a server in one line, as YAML allows.
FLOW = re.compile(r"^[ \t]*-?[ \t]*\{(.*)\}[ \t]*,?[ \t]*$")
FLOW_PART = re.compile(r"""((?:"[^"]*"|'[^']*'|\{[^{}]*\}|[^,"'{}])+)""")


class Settings(NamedTuple):
    """What a text says of a server.

    Attributes:
        values: as config.json has them.
        is_all: whether nothing else stood there.
    """

    values: dict[str, object]
    is_all: bool


def find(text: str) -> Settings | None:
    """Return the settings in a text, or None where there are too few to be any.

    Raises:
        ProtocolError: they are those of several servers; it says of how many.
    """
    found: dict[str, list[str]] = {}
    kinds: list[str] = []
    is_all = True
    for line in _lines(text):
        if (kind := KIND.match(line)) and kind[1].lower() not in SHADOWSOCKS:
            kinds.append(kind[1])
        match = UCI.match(line) or LINE.match(line)
        key = _key(match["key"]) if match else None
        value = _bare(match) if match and key else ""
        if key is None or not value:
            is_all = is_all and SAYS_NOTHING.fullmatch(line) is not None
        elif value not in found.setdefault(key, []):
            found[key].append(value)
    if TELLING not in found and len(found.keys() & SERVERS) < ENOUGH:
        return None
    if kinds:
        raise ProtocolError(
            f"the server in it is for {kinds[0]}, and not for shadowsocks"
        )
    most = max(map(len, found.values()))
    if most > 1:
        raise ProtocolError(f"it has {most} servers: leave one in it")
    return Settings({key: values[0] for key, values in found.items()}, is_all)


def _key(words: str) -> str | None:
    return KEYS.get(re.sub("[-_ ]", "", words).lower().removeprefix("your"))


def _lines(text: str) -> list[str]:
    lines: list[str] = []
    for line in map(str.strip, text.splitlines()):
        flow = FLOW.match(line)
        lines += FLOW_PART.findall(flow[1]) if flow else [line]
    return lines


def _bare(line: re.Match[str]) -> str:
    """Return a value without its quotes, and without what stands behind them.

    Raises:
        ProtocolError: its quotes are not those of YAML or JSON, but a shell's.
    """
    value = line["value"].strip()
    quoted = QUOTED.fullmatch(value)
    if quoted:
        if quoted["single"] is not None:
            return quoted["single"].replace("''", "'")
        return re.sub(r"\\(.)", r"\1", quoted["double"])
    if value[:1] in ("'", '"') and len(value) > 1:
        raise ProtocolError(f"the quotes around '{line['key']}' in it are not whole")
    if " #" in value:
        value = value.partition(" #")[0].rstrip()
    value = value.rstrip(",")
    return value.removesuffix(line["quote"]) if line["quote"] else value
