"""Name what was pasted, where no server could be read from it."""

from __future__ import annotations

import re

from pt_bridge.errors import ProtocolError
from pt_bridge.formats import bridge_line
from pt_bridge.options.transports import TRANSPORTS
from pt_bridge.profiles.forms import BRIDGE, NAMES
from pt_bridge.text import excerpts, foreign
from pt_bridge.text.quoting import unquoted, visible

NOTHING = (
    "this is no bridge line, no plugin options (key=value;...), no ss:// link and no "
    "JSON: was it copied whole?"
)
# What begins like a bridge line, with a transport or without.
BRIDGE_LIKE = re.compile(
    rf"(?:{'|'.join(TRANSPORTS)})\s|\d{{1,3}}(?:\.\d{{1,3}}){{3}}(?=[:\s])"
    rf"|\[[0-9A-Fa-f:]+\](?=[:\s])|[\w.-]+:\d+\s+\$?[0-9A-Fa-f]{{40}}\b"
)
COMMENTED = re.compile(r"^[ \t]*#+", re.MULTILINE)
TORRC = re.compile(
    r"^[^\S\n]*(?:UseBridges|ClientTransportPlugin|ServerTransport\w+|SocksPort|ORPort|"
    r"BridgeRelay|DataDirectory|ExtORPort)\b",
    re.IGNORECASE | re.MULTILINE,
)


def sentence(text: str) -> str:
    """Return a sentence that calls a text by its name, or says that it is nothing."""
    text = visible(text)
    others = foreign.schemes(text)
    if others:
        kind, more = others[0], others[1:]
        also = f" (and {', '.join(map(foreign.name, more))})" if more else ""
        return f"that is {foreign.name(kind)}{also}: {foreign.SCHEMES[kind]}"
    bare = unquoted(text)
    if sentence := foreign.name_of(bare):
        return sentence
    if bare in TRANSPORTS:
        return f"that is the name of a transport alone: give transport={bare};..."
    if (
        COMMENTED.search(text)
        and excerpts.bridge_lines(COMMENTED.sub("", text), TRANSPORTS).texts
    ):
        return "the bridge line in it is commented out: take the '#' before it away"
    if TORRC.search(text):
        return (
            "that is a torrc without the bridge line of a transport: give the line "
            "'Bridge obfs4 ...', if there is one"
        )
    words = bare.split()
    has_keyword = bool(words) and words[0].lower() == bridge_line.BRIDGE
    rest = " ".join(words[1:] if has_keyword else words)
    if has_keyword or (" " in rest and BRIDGE_LIKE.match(rest)):
        try:
            bridge_line.parse(text)
        except ProtocolError as error:
            return f"this {NAMES[BRIDGE]} is wrong: {error}"
    return NOTHING
