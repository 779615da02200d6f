"""The four forms in which people hand each other a way to a server.

A bridge line, plugin options, an ``ss://`` link and shadowsocks's ``config.json`` are
all read as a `Profile`, and written from one.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pt_bridge import own_options
from pt_bridge.arguments import client_line
from pt_bridge.config import (
    LOCAL_HOST,
    LOCAL_PORT,
    PLUGIN_OPTIONS,
    REMOTE_HOST,
    REMOTE_PORT,
    Config,
    bridge_of,
    sort,
)
from pt_bridge.errors import ConfigError, OptionsError, ProtocolError, UsageError
from pt_bridge.own_options import SERVER
from pt_bridge.protocol import bridge_line, options, ss_config, ss_link
from pt_bridge.protocol.address import Address, parse_host_port
from pt_bridge.protocol.bridge_line import BridgeLine
from pt_bridge.protocol.pasted import unquoted, visible
from pt_bridge.protocol.profile import Profile, is_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pt_bridge.own_options import Values

BRIDGE, OPTIONS, LINK, JSON = FORMS = ("bridge", "options", "link", "json")
NAMES = {
    BRIDGE: "bridge line",
    OPTIONS: "string of plugin options",
    LINK: "shadowsocks link",
    JSON: "shadowsocks configuration",
}
PLUGIN = "pt-bridge"
# Where ss-local listens unless somebody says otherwise: so do all the manuals.
DEFAULT_LOCAL = ("127.0.0.1", 1080)
# An address for options that come without one.
NOWHERE = ("192.0.2.1", 1)
MAX_NAMED = 8  # keys in a note


def form_of(text: str) -> str:
    """Tell which form a text has.

    Raises:
        OptionsError: none of them.
    """
    bare = unquoted(visible(text))
    first, *more = bare.split(maxsplit=1) or [""]
    if first[: len(ss_link.SCHEME)].lower() == ss_link.SCHEME:
        return LINK
    if bare.removeprefix("[").lstrip()[:1] == "{":
        return JSON
    if "=" in first or ";" in first or first == SERVER:
        return OPTIONS
    if more:
        return BRIDGE
    raise OptionsError(
        "this is no bridge line, no plugin options (key=value;...), no ss:// link and "
        "no JSON: was it copied whole?"
    )


def read(text: str) -> Profile:
    """Read whatever of the four people paste.

    Raises:
        OptionsError: it is none of them, or broken; no secret is shown.
    """
    if not is_text(text):
        raise OptionsError("this is not text in UTF-8")
    form = form_of(text)
    try:
        if form == BRIDGE:
            return _from_bridge_line(bridge_line.parse(text))
        if form == OPTIONS:
            return _from_options(unquoted(visible(text)))
        if form == LINK:
            return ss_link.parse(text)
        return ss_config.parse(text.removeprefix("\ufeff"))
    except ProtocolError as error:
        raise OptionsError(f"this {NAMES[form]} is wrong: {error}") from None


def _from_bridge_line(line: BridgeLine) -> Profile:
    return Profile(
        hosts=(line.address.host,),
        port=line.address.port,
        plugin=PLUGIN,
        plugin_opts=client_line(line.transport, line.arguments),
        fingerprint=line.fingerprint,
    )


def _from_options(text: str) -> Profile:
    profile = Profile(plugin=PLUGIN, plugin_opts=text)
    line = bridge_of(*_sorted(profile))
    if line is not None:
        told = _from_bridge_line(line)
        profile = replace(told, plugin_opts=text)
    return profile


def _sorted(profile: Profile) -> tuple[Values, list[tuple[str, str]]]:
    """Give pt-bridge's own options, and the PT's arguments; none for other plugins."""
    if profile.program != PLUGIN:
        return {}, []
    return sort(options.parse(profile.plugin_opts.encode()))


def amend(
    profile: Profile,
    *,
    remote: str | None = None,
    local: str | None = None,
    method: str | None = None,
    password: str | None = None,
) -> Profile:
    """Put what the command line says in the place of what was read.

    Args:
        profile: what was read.
        remote: the server's ``HOST:PORT``, if given.
        local: ss-local's ``HOST:PORT``, if given.
        method: the cipher, if given.
        password: shadowsocks's password, if given.

    Raises:
        UsageError: one of them is wrong; it names the flag.
    """
    if remote is not None:
        address = _address("--remote", remote)
        profile = replace(profile, hosts=(address.host,), port=address.port)
    if local is not None:
        address = _address("--local", local)
        profile = replace(profile, local_host=address.host, local_port=address.port)
    flag = "--method"
    try:
        if method is not None:
            profile = replace(profile, method=method)
        flag = "--password"
        if password is not None:
            profile = replace(profile, password=password)
    except ProtocolError as error:
        raise UsageError(f"{flag} is wrong: {error}") from None
    return profile


def _address(flag: str, text: str) -> Address:
    try:
        return parse_host_port(text)
    except ProtocolError as error:
        raise UsageError(f"{flag} is wrong: {error}") from None


def write(profile: Profile, form: str) -> str:
    """Write a profile in one of the four forms; `read` undoes it.

    Raises:
        UsageError: something is missing; it names the flag of ``pt-bridge convert``.
        OptionsError: the form cannot hold it.
    """
    own, given = _sorted(profile)
    if form in (BRIDGE, OPTIONS) and profile.program != PLUGIN:
        raise OptionsError(
            f"this is for another plugin, or for none: only {PLUGIN}'s options make a "
            f"{NAMES[form]}"
        )
    if form in (BRIDGE, LINK) and SERVER in own:
        raise OptionsError(
            f"these are the server's own options, and a {NAMES[form]} is for its "
            f"clients: give what stands in the server's client-options.txt"
        )
    if form == OPTIONS:
        return profile.plugin_opts
    _check_complete(profile, form)
    try:
        if form == BRIDGE:
            return str(_bridge_line(profile, own, given))
        if form == LINK:
            return ss_link.serialize(profile)
        if SERVER not in own and profile.local_port is None:
            host, port = DEFAULT_LOCAL
            profile = replace(
                profile, local_host=profile.local_host or host, local_port=port
            )
        return ss_config.serialize(profile)
    except ProtocolError as error:
        raise OptionsError(f"a {NAMES[form]} cannot hold this: {error}") from None


def _check_complete(profile: Profile, form: str) -> None:
    missing = []
    if not profile.hosts or profile.port is None:
        missing.append("--remote HOST:PORT")
    if form != BRIDGE and profile.method is None:
        missing.append("--method NAME")
    if form != BRIDGE and profile.password is None:
        missing.append("--password TEXT")
    if missing:
        raise UsageError(
            f"a {NAMES[form]} needs more than this holds: add {' '.join(missing)}"
        )
    if form != JSON and len(profile.hosts) > 1:
        raise UsageError(
            f"a {NAMES[form]} holds one server, and here are {len(profile.hosts)}: "
            f"choose one with --remote HOST:PORT"
        )


def _bridge_line(
    profile: Profile, own: Values, given: list[tuple[str, str]]
) -> BridgeLine:
    assert profile.port is not None  # _check_complete has looked
    address = Address(profile.hosts[0], profile.port)
    line = bridge_of(own, given)
    if line is not None:
        return BridgeLine(line.transport, address, line.arguments, line.fingerprint)
    return BridgeLine(own_options.transport(own), address, given, profile.fingerprint)


def notes(profile: Profile, form: str) -> list[str]:
    """Say what a form leaves out of a profile, and what pt-bridge will not like in it.

    Args:
        profile: one that `write` has written.
        form: the form.
    """
    found = []
    if profile.fingerprint is not None:
        found.append(own_options.TOR_BRIDGE)
    if form != JSON and profile.others:
        found.append(f"left out, since only JSON can hold it: {_names(profile.others)}")
    own, _ = _sorted(profile)
    others = [key for key in own if key not in ("transport", "bridge")]
    if form == BRIDGE and others:
        found.append(f"left out of the bridge line: {_names(others)}")
    if form == OPTIONS and profile.hosts and profile.method is None:
        found.append(
            "the address is no part of the options: set shadowsocks's server and "
            "server_port to it"
        )
    return list(dict.fromkeys([*found, *_doubts(profile)]))


def _names(keys: Iterable[str]) -> str:
    names = list(keys)
    more = ", ..." if len(names) > MAX_NAMED else ""
    return f"{', '.join(names[:MAX_NAMED])}{more}"


def _doubts(profile: Profile) -> list[str]:
    """Give what pt-bridge would say of the options when it starts."""
    if profile.program != PLUGIN:
        return []
    variables = {
        REMOTE_HOST: "|".join(profile.hosts) or NOWHERE[0],
        REMOTE_PORT: str(profile.port or NOWHERE[1]),
        LOCAL_HOST: DEFAULT_LOCAL[0],
        LOCAL_PORT: str(DEFAULT_LOCAL[1]),
        PLUGIN_OPTIONS: profile.plugin_opts,
    }
    try:
        return Config({key: text.encode() for key, text in variables.items()}).warnings
    except ConfigError as error:
        return [f"pt-bridge will refuse it: {error}"]
