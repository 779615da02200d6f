"""Plugin options that people paste: bare, or with a text around them."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from pt_bridge.errors import OptionsError
from pt_bridge.formats.profile import Profile
from pt_bridge.options import option_values, plugin_options
from pt_bridge.options.option_values import BETWEEN, Given
from pt_bridge.options.own_options import SERVER
from pt_bridge.options.pt_arguments import check_alone, sort
from pt_bridge.profiles.forms import PLUGIN, TEXT_AROUND
from pt_bridge.profiles.pasted_lines import from_bridge_line
from pt_bridge.text import excerpts, foreign, wrapping
from pt_bridge.text.quoting import unquoted, visible

if TYPE_CHECKING:
    from pt_bridge.formats.bridge_line import BridgeLine
    from pt_bridge.options.option_values import Values

URL_START = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|bridge:\S", re.IGNORECASE)
# 'transport:obfs4' is what one writes after some JSON.
OPTIONS_START = re.compile(r"transport:", re.IGNORECASE)
# How a word of a program's source begins, and no options, which begin with a name.
MARKUP = re.compile(r"[<(\[]|\w+\(|&(?:lt|quot|amp|#\d+);")
OPTIONS_WITHIN = re.compile(r"(?:\bserver;)?(?<![\w.-])transport=[^\s\"'`<>]+")
LINE_END = re.compile(r";[^\S\n]*\n\s*|\r?\n(?=[a-z-]+=)")
COMMENT_LINE = re.compile(r"^[ \t]*#.*$", re.MULTILINE)
SPACED = re.compile(r"(?:server[ \t]*;[ \t]*)?(?:transport|cert)(?:[ \t]+=|=[ \t])")
BLANKS_AROUND = re.compile(r"[ \t]*([=;])[ \t]*")
PLUGIN_BEFORE = re.compile(r"^(?:plugin=)?(?:[\w./-]*/)?pt-bridge;")


def from_bare_options(text: str) -> Profile | None:
    """Read a text that is nothing but plugin options, or None where it is not.

    Raises:
        OptionsError: they are wrong.
    """
    if "\n" in text.strip() and excerpts.LINK_START.search(text):
        return None
    bare = visible(text).strip()
    if "\n" in bare:
        bare = COMMENT_LINE.sub("", bare)
    bare = unquoted(bare)
    bare = PLUGIN_BEFORE.sub("", LINE_END.sub(";", bare))
    if SPACED.match(bare):
        spaced = BLANKS_AROUND.sub(r"\1", bare)
        note = "left out: the blanks around '=' and ';'"
        return from_options(spaced).with_notes(note)
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
        told = from_bridge_line(line)
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


def bridge_of(own: Values, given: list[tuple[str, str]]) -> BridgeLine | None:
    """Return the one bridge line among the options, or None without one.

    Args:
        own: our own options.
        given: the arguments for the PT, as `sorted_options` gives them.

    Raises:
        OptionsError: it is none, there are several, or what it says is said beside it,
            too.
    """
    lines = option_values.bridge(Given(own))
    if not lines:
        return None
    if len(lines) > 1:
        raise OptionsError(f"there are {len(lines)} bridge lines: give one here")
    check_alone(given)
    return lines[0]


def from_options_within(text: str) -> Profile | None:
    """Read the plugin options that stand somewhere in a text, or None without any.

    Raises:
        OptionsError: they are wrong, or there in several ways.
    """
    found = list(dict.fromkeys(OPTIONS_WITHIN.findall(visible(text))))
    if not found:
        return None
    if len(found) > 1:
        raise OptionsError(
            f"these are {len(found)} strings of plugin options: give one"
        )
    return from_options(found[0].rstrip(",).")).with_notes(TEXT_AROUND)
