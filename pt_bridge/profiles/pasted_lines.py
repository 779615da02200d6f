"""The one link, or the one bridge line, in whatever stands around it."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from pt_bridge.errors import OptionsError, ProtocolError
from pt_bridge.formats import bridge_line, ss_link
from pt_bridge.formats.profile import Profile
from pt_bridge.options.client_options import client_line
from pt_bridge.options.transports import TRANSPORTS
from pt_bridge.profiles.forms import BRIDGE, LINK, NAMES, PLUGIN, TEXT_AROUND, named
from pt_bridge.protocol.address import is_wildcard
from pt_bridge.text import excerpts, foreign
from pt_bridge.text.markup import without_entities, without_markup
from pt_bridge.text.quoting import visible

if TYPE_CHECKING:
    from pt_bridge.formats.bridge_line import BridgeLine

# An argument that went into the one before it.
SWALLOWED = re.compile(r"[,;](?:cert|iat-mode)=")


def from_lines(text: str) -> Profile | None:
    """Read the one link, or the one bridge line, that stands in a text.

    Returns:
        What it tells, or None where the text has neither.

    Raises:
        OptionsError: there are several, or it is broken.
    """
    source = without_markup(without_entities(text))
    links = excerpts.links(source)
    lines = excerpts.bridge_lines(visible(links.rest), TRANSPORTS)
    others = foreign.schemes(source)
    counts = _counted((len(links.texts), "link"), (len(lines.texts), NAMES[BRIDGE]))
    if len(links.texts) + len(lines.texts) > 1:
        raise OptionsError(f"these are {counts}: give one")
    notes = [f"left out: {foreign.name(scheme)}" for scheme in others]
    if links.texts:
        profile = from_link(links.texts[0])
        is_all = links.is_all
    elif lines.texts:
        profile = from_bridge_line(
            named(BRIDGE, lambda: bridge_line.parse(lines.texts[0]))
        )
        is_all = lines.is_all
    else:
        return None
    if not is_all and not notes:
        notes.append(TEXT_AROUND)
    return profile.with_notes(*notes)


def _counted(*things: tuple[int, str]) -> str:
    words = [f"{n} {what}{'s' if n > 1 else ''}" for n, what in things if n]
    return " and ".join(words)


def from_link(text: str) -> Profile:
    """Read a link, or the first line of it where the others are no part of it.

    Raises:
        OptionsError: it is broken.
    """
    try:
        return ss_link.parse(text)
    except ProtocolError as error:
        first, *more = text.splitlines()
        if more:
            try:
                return ss_link.parse(first).with_notes(TEXT_AROUND)
            except ProtocolError:
                pass
        raise OptionsError(f"this {NAMES[LINK]} is wrong: {error}") from None


def from_bridge_line(line: BridgeLine) -> Profile:
    """Return what a bridge line tells, with notes on what is odd about it."""
    profile = Profile(
        hosts=(line.address.host,),
        port=line.address.port,
        plugin=PLUGIN,
        plugin_opts=client_line(line.transport, line.arguments),
        fingerprint=line.fingerprint,
    )
    for key, value in line.arguments:
        if SWALLOWED.search(value):
            profile = profile.with_notes(
                f"the value of '{key}' holds another argument: a blank stands between "
                f"two, and no ',' or ';'"
            )
    if not is_wildcard(line.address.host):
        return profile
    return replace(profile, hosts=(), port=None).with_notes(
        f"left out: an address that stands for all of the server's: add --remote with "
        f"the server's own, and port {line.address.port}"
    )
