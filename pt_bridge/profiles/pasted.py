"""Whatever people paste about a server, read as a `Profile`.

One thing is read in every form in which it is passed around. Several are counted and
named, and what is something else is called by its name.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import replace

from pt_bridge.errors import OptionsError, ProtocolError
from pt_bridge.formats import host_command, json_text, settings, ss_config, ss_link
from pt_bridge.formats.profile import Profile, is_text
from pt_bridge.profiles import unknown
from pt_bridge.profiles.forms import JSON, LINK, NAMES, PLUGIN, TEXT_AROUND, named
from pt_bridge.profiles.pasted_lines import from_lines, from_link
from pt_bridge.profiles.pasted_options import (
    OPTIONS_WITHIN,
    from_bare_options,
    from_options,
    from_options_within,
)
from pt_bridge.text import excerpts, wrapping
from pt_bridge.text.markup import without_markup
from pt_bridge.text.quoting import visible

COMMAND, SETTINGS = "command", "text"
# Between the texts that JSON holds: none goes on in the next.
APART = "\n\n;\n\n"
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
    for reader in (_from_json, _from_command, _from_settings, from_bare_options):
        profile = reader(text)
        if profile is not None:
            return profile
    profile = from_lines(text)
    if profile is None and again and (inner := wrapping.inside(visible(text))):
        return _read(inner, again=False)
    if profile is None:
        profile = from_options_within(text)
    if profile is None:
        raise OptionsError(unknown.sentence(text))
    return profile


# -- JSON ------------------------------------------------------------------------------


def _from_json(text: str) -> Profile | None:
    text = without_markup(text).strip().removeprefix("\ufeff").lstrip()
    if JSON_START.match(text) and not YAML_FLOW.match(text):
        return _from_value(named(JSON, lambda: json_text.load(text)))
    if JSON_PART.match(text):
        try:
            value = json_text.load(f"{{{text.rstrip(',')}}}")
        except ProtocolError:
            return None  # perhaps several lines without commas: settings
        return _from_part(value)
    block = JSON_BLOCK.search(text)
    if block is None or YAML_FLOW.match(block[1]):
        return None
    profile = _from_value(named(JSON, lambda: json_text.load(block[1])))
    return profile.with_notes(TEXT_AROUND)


def _from_value(value: object) -> Profile:
    """Read a configuration, or else the bridge lines and links that JSON holds."""
    if isinstance(value, dict) and not value.keys() & {"server", "servers"}:
        # Outline's own list of keys has the parts, and the link.
        texts = [each for each in value.values() if isinstance(each, str)]
        links = [each for each in texts if excerpts.LINK_START.match(each)]
        if len(links) == 1:
            return from_link(links[0])
    if named(JSON, lambda: ss_config.holds_servers(value)):
        whole = named(JSON, lambda: ss_config.profile_of(value))
        return whole.with_notes(NO_PLUGIN) if _lacks_plugin(whole) else whole
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        words = shlex.join(value)  # as a container's command is written
        if (profile := _from_command(words)) is not None:
            return profile
    text = APART.join(json_text.strings(value))
    profile = from_lines(text) or from_options_within(text)
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
    if not named(JSON, lambda: ss_config.holds_servers(value)):
        return None
    return _completed(named(JSON, lambda: ss_config.profile_of(value)))


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
    command = named(COMMAND, lambda: host_command.parse(commands[0]))
    values: dict[str, object] = {**command.values}
    profile = named(COMMAND, lambda: ss_config.profile(values, []))
    if command.link:
        profile = _merged(named(LINK, lambda: ss_link.parse(command.link)), profile)
    notes = []
    if command.left_out:
        notes.append(f"left out of the command: {' '.join(command.left_out)}")
    return _completed(profile).with_notes(*notes)


def _merged(link: Profile, flags: Profile) -> Profile:
    """Return what a link says, with ss-local's own end."""
    return replace(link, local_host=flags.local_host, local_port=flags.local_port)


def _from_settings(text: str) -> Profile | None:
    if excerpts.LINK_START.search(text):
        return None
    found = named(SETTINGS, lambda: settings.find(without_markup(visible(text))))
    if found is None:
        return None
    profile = named(SETTINGS, lambda: ss_config.profile(found.values, []))
    if not (profile.plugin or profile.plugin_opts):
        within = list(dict.fromkeys(OPTIONS_WITHIN.findall(visible(text))))
        profile = replace(profile, plugin_opts=within[0] if len(within) == 1 else "")
    profile = _completed(profile)
    return profile if found.is_all else profile.with_notes(TEXT_AROUND)
