"""Whatever people paste about a server, read as a `Profile`.

One thing is read in every form in which it is passed around. Several are counted and
named, and what is something else is called by its name.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING

from pt_bridge.errors import OptionsError, ProtocolError
from pt_bridge.formats import (
    bridge_line,
    host_command,
    json_text,
    settings,
    ss_config,
    ss_link,
)
from pt_bridge.formats.profile import Profile, is_text
from pt_bridge.options import option_values, plugin_options
from pt_bridge.options.client_options import client_line
from pt_bridge.options.config import bridge_of
from pt_bridge.options.option_values import BETWEEN, Given
from pt_bridge.options.own_options import SERVER
from pt_bridge.options.pt_arguments import sort
from pt_bridge.options.transports import TRANSPORTS
from pt_bridge.profiles import unknown
from pt_bridge.profiles.forms import BRIDGE, JSON, LINK, NAMES, PLUGIN
from pt_bridge.protocol.address import is_wildcard
from pt_bridge.text import excerpts, foreign, wrapping
from pt_bridge.text.markup import without_entities, without_markup
from pt_bridge.text.quoting import unquoted, visible

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from pt_bridge.formats.bridge_line import BridgeLine
    from pt_bridge.options.option_values import Values

    T = TypeVar("T")

COMMAND, SETTINGS = "command", "text"
# Between the texts that JSON holds: none goes on in the next.
APART = "\n\n;\n\n"
TEXT_AROUND = "left out: the text around it"
NO_PLUGIN = (
    f"it has plugin_opts and no plugin: shadowsocks starts none until it has a line "
    f'\'"plugin": "{PLUGIN}",\', too'
)
JSON_START = re.compile(r"\{|\[\s*(?:[{\"']|\[\s*[\[\]{\"'])")
# YAML on one line: bare words, too, stand behind its keys.
YAML_FLOW = re.compile(r"""\{\s*\w+:\s+(?!\d*\.?\d+\s*[,}])[^\s"'\[{]""")
# A line or more out of config.json, without the braces around all.
JSON_PART = re.compile(r"""["'][A-Za-z][\w-]*["']\s*:""")
JSON_BLOCK = re.compile(r"^[ \t]*(\{.*\})[ \t]*[;,]?[ \t]*$", re.DOTALL | re.MULTILINE)
URL_START = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|bridge:\S", re.IGNORECASE)
# 'transport:obfs4' is what one writes after some JSON.
OPTIONS_START = re.compile(r"transport:", re.IGNORECASE)
# How a word of a program's source begins, and no options, which begin with a name.
MARKUP = re.compile(r"[<(\[]|\w+\(|&(?:lt|quot|amp|#\d+);")
OPTIONS_WITHIN = re.compile(r"(?:\bserver;)?(?<![\w.-])transport=[^\s\"'`<>]+")
LINE_END = re.compile(r";[^\S\n]*\n\s*|\r?\n(?=[a-z-]+=)")
COMMENT_LINE = re.compile(r"^[ \t]*#.*$", re.MULTILINE)
# An argument that went into the one before it.
SWALLOWED = re.compile(r"[,;](?:cert|iat-mode)=")
SPACED = re.compile(r"(?:server[ \t]*;[ \t]*)?(?:transport|cert)(?:[ \t]+=|=[ \t])")
BLANKS_AROUND = re.compile(r"[ \t]*([=;])[ \t]*")
PLUGIN_BEFORE = re.compile(r"^(?:plugin=)?(?:[\w./-]*/)?pt-bridge;")


def read(text: str) -> Profile:
    """Read whatever people paste.

    Raises:
        OptionsError: it is nothing that we know, several of it, or broken; no secret is
            shown.
    """
    if not is_text(text):
        raise OptionsError("this is not text in UTF-8")
    return _read(text)


def _read(text: str, *, again: bool = True) -> Profile:
    """Read text.

    Invisible characters are left in links and in JSON: names hold them.

    Args:
        text: the text.
        again: whether what it wraps, in base64 for one, is read in its place.
    """
    for reader in (_from_json, _from_command, _from_settings, _from_bare_options):
        profile = reader(text)
        if profile is not None:
            return profile
    profile = _from_lines(text)
    if profile is None and again and (inner := wrapping.inside(visible(text))):
        return _read(inner, again=False)
    if profile is None:
        profile = _from_options_within(text)
    if profile is None:
        raise OptionsError(unknown.sentence(text))
    return profile


def _named(form: str, parse: Callable[[], T]) -> T:
    """Parse, and say of an error in which form it is."""
    try:
        return parse()
    except ProtocolError as error:
        raise OptionsError(f"this {NAMES.get(form, form)} is wrong: {error}") from None


def _noted(profile: Profile, *notes: str) -> Profile:
    return replace(profile, notes=(*profile.notes, *notes))


# -- JSON ------------------------------------------------------------------------------


def _from_json(text: str) -> Profile | None:
    text = without_markup(text).strip().removeprefix("\ufeff").lstrip()
    if JSON_START.match(text) and not YAML_FLOW.match(text):
        return _from_value(_named(JSON, lambda: json_text.load(text)))
    if JSON_PART.match(text):
        try:
            value = json_text.load(f"{{{text.rstrip(',')}}}")
        except ProtocolError:
            return None  # perhaps several lines without commas: settings
        return _from_part(value)
    block = JSON_BLOCK.search(text)
    if block is None or YAML_FLOW.match(block[1]):
        return None
    profile = _from_value(_named(JSON, lambda: json_text.load(block[1])))
    return _noted(profile, TEXT_AROUND)


def _from_value(value: object) -> Profile:
    """Read a configuration, or else the bridge lines and links that JSON holds."""
    if isinstance(value, dict) and not value.keys() & {"server", "servers"}:
        # Outline's own list of keys has the parts, and the link.
        texts = [each for each in value.values() if isinstance(each, str)]
        links = [each for each in texts if excerpts.LINK_START.match(each)]
        if len(links) == 1:
            return _from_link(links[0])
    if _named(JSON, lambda: ss_config.holds_servers(value)):
        whole = _named(JSON, lambda: ss_config.profile_of(value))
        return _noted(whole, NO_PLUGIN) if _lacks_plugin(whole) else whole
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        words = shlex.join(value)  # as a container's command is written
        if (profile := _from_command(words)) is not None:
            return profile
    text = APART.join(json_text.strings(value))
    profile = _from_lines(text) or _from_options_within(text)
    if profile is None:
        raise OptionsError(
            f"this {NAMES[JSON]} is wrong: it has nothing of shadowsocks's: no server, "
            f"no password"
        )
    return profile


def _lacks_plugin(profile: Profile) -> bool:
    return profile.plugin_opts != "" and profile.plugin is None


def _from_part(value: object) -> Profile | None:
    """Read what stood between the braces of config.json."""
    if not _named(JSON, lambda: ss_config.holds_servers(value)):
        return None
    return _completed(_named(JSON, lambda: ss_config.profile_of(value)))


def _completed(profile: Profile) -> Profile:
    """Add what a part of a configuration does not say: whose options these are."""
    if not profile.plugin_opts or profile.program not in ("", PLUGIN):
        return profile
    told = from_options(profile.plugin_opts)
    if not profile.hosts:
        profile = replace(
            profile, hosts=told.hosts, port=told.port, fingerprint=told.fingerprint
        )
    return replace(profile, plugin=profile.plugin or PLUGIN)


# -- commands and settings -------------------------------------------------------------


def _from_command(text: str) -> Profile | None:
    commands = host_command.find(without_markup(visible(text)))
    if not commands:
        return None
    if len(commands) > 1:
        raise OptionsError(f"these are {len(commands)} commands: give one")
    command = _named(COMMAND, lambda: host_command.parse(commands[0]))
    values: dict[str, object] = {**command.values}
    profile = _named(COMMAND, lambda: ss_config.profile(values, []))
    if command.link:
        profile = _merged(_named(LINK, lambda: ss_link.parse(command.link)), profile)
    notes = []
    if command.left_out:
        notes.append(f"left out of the command: {' '.join(command.left_out)}")
    return _noted(_completed(profile), *notes)


def _merged(link: Profile, flags: Profile) -> Profile:
    """Return what a link says, with ss-local's own end."""
    return replace(link, local_host=flags.local_host, local_port=flags.local_port)


def _from_settings(text: str) -> Profile | None:
    if excerpts.LINK_START.search(text):
        return None
    found = _named(SETTINGS, lambda: settings.find(without_markup(visible(text))))
    if found is None:
        return None
    profile = _named(SETTINGS, lambda: ss_config.profile(found.values, []))
    if not (profile.plugin or profile.plugin_opts):
        within = list(dict.fromkeys(OPTIONS_WITHIN.findall(visible(text))))
        profile = replace(profile, plugin_opts=within[0] if len(within) == 1 else "")
    profile = _completed(profile)
    return profile if found.is_all else _noted(profile, TEXT_AROUND)


# -- options ---------------------------------------------------------------------------


def _from_bare_options(text: str) -> Profile | None:
    if "\n" in text.strip() and excerpts.LINK_START.search(text):
        return None
    bare = visible(text).strip()
    if "\n" in bare:
        bare = COMMENT_LINE.sub("", bare)
    bare = unquoted(bare)
    bare = PLUGIN_BEFORE.sub("", LINE_END.sub(";", bare))
    if SPACED.match(bare):
        spaced = BLANKS_AROUND.sub(r"\1", bare)
        return _noted(from_options(spaced), "left out: the blanks around '=' and ';'")
    first = next(iter(bare.split(maxsplit=1)), "")
    if (
        URL_START.match(bare)
        or wrapping.BASE64.fullmatch(bare)
        or foreign.name_of(bare)
    ):
        return None
    if not (
        "=" in first or ";" in first or first == SERVER or OPTIONS_START.match(first)
    ):
        return None
    return None if MARKUP.match(first) else from_options(bare)


def from_options(text: str) -> Profile:
    """Read plugin options; a bridge line in them tells the server, too.

    Raises:
        OptionsError: they are wrong.
    """
    profile = Profile(plugin=PLUGIN, plugin_opts=text)
    own, given = sorted_options(profile)
    if "bridges" in own:  # a file, whose lines say where their servers are
        return profile
    if BETWEEN in (own.get("bridge") or ""):  # the first stands for all
        address = option_values.bridge(Given(own))[0].address
        return replace(profile, hosts=(address.host,), port=address.port)
    line = bridge_of(own, given)
    if line is not None:
        told = _from_bridge_line(line)
        profile = replace(told, plugin_opts=text)
    return profile


def sorted_options(profile: Profile) -> tuple[Values, list[tuple[str, str]]]:
    """Return pt-bridge's own options, and the PT's arguments; none for other plugins.

    Raises:
        OptionsError: one of them can be neither.
    """
    if profile.program != PLUGIN:
        return {}, []
    return sort(plugin_options.parse(profile.plugin_opts.encode()))


def _from_options_within(text: str) -> Profile | None:
    found = list(dict.fromkeys(OPTIONS_WITHIN.findall(visible(text))))
    if not found:
        return None
    if len(found) > 1:
        raise OptionsError(
            f"these are {len(found)} strings of plugin options: give one"
        )
    return _noted(from_options(found[0].rstrip(",).")), TEXT_AROUND)


# -- links and bridge lines ------------------------------------------------------------


def _from_lines(text: str) -> Profile | None:
    """Read the one link, or the one bridge line, that stands in a text."""
    source = without_markup(without_entities(text))
    links = excerpts.links(source)
    lines = excerpts.bridge_lines(visible(links.rest), TRANSPORTS)
    others = foreign.schemes(source)
    counts = _counted((len(links.texts), "link"), (len(lines.texts), NAMES[BRIDGE]))
    if len(links.texts) + len(lines.texts) > 1:
        raise OptionsError(f"these are {counts}: give one")
    notes = [f"left out: {foreign.name(scheme)}" for scheme in others]
    if links.texts:
        profile = _from_link(links.texts[0])
        is_all = links.is_all
    elif lines.texts:
        profile = _from_bridge_line(
            _named(BRIDGE, lambda: bridge_line.parse(lines.texts[0]))
        )
        is_all = lines.is_all
    else:
        return None
    if not is_all and not notes:
        notes.append(TEXT_AROUND)
    return _noted(profile, *notes)


def _counted(*things: tuple[int, str]) -> str:
    words = [f"{n} {what}{'s' if n > 1 else ''}" for n, what in things if n]
    return " and ".join(words)


def _from_link(text: str) -> Profile:
    """Read a link, or the first line of it where the others are no part of it."""
    try:
        return ss_link.parse(text)
    except ProtocolError as error:
        first, *more = text.splitlines()
        if more:
            try:
                return _noted(ss_link.parse(first), TEXT_AROUND)
            except ProtocolError:
                pass
        raise OptionsError(f"this {NAMES[LINK]} is wrong: {error}") from None


def _from_bridge_line(line: BridgeLine) -> Profile:
    profile = Profile(
        hosts=(line.address.host,),
        port=line.address.port,
        plugin=PLUGIN,
        plugin_opts=client_line(line.transport, line.arguments),
        fingerprint=line.fingerprint,
    )
    for key, value in line.arguments:
        if SWALLOWED.search(value):
            profile = _noted(
                profile,
                f"the value of '{key}' holds another argument: a blank stands between "
                f"two, and no ',' or ';'",
            )
    if not is_wildcard(line.address.host):
        return profile
    return _noted(
        replace(profile, hosts=(), port=None),
        f"left out: an address that stands for all of the server's: add --remote with "
        f"the server's own, and port {line.address.port}",
    )
