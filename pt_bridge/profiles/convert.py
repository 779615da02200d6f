"""A `Profile` written in one of the four forms, and what that leaves out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pt_bridge.errors import ConfigError, OptionsError, ProtocolError, UsageError
from pt_bridge.formats import ss_config, ss_link
from pt_bridge.formats.bridge_line import BridgeLine
from pt_bridge.options import option_values
from pt_bridge.options.config import Config
from pt_bridge.options.option_values import TOR_BRIDGE, Given
from pt_bridge.options.own_options import SERVER
from pt_bridge.options.ss_variables import (
    LOCAL_HOST,
    LOCAL_PORT,
    PLUGIN_OPTIONS,
    REMOTE_HOST,
    REMOTE_PORT,
)
from pt_bridge.options.transports import TRANSPORTS
from pt_bridge.profiles import ciphers
from pt_bridge.profiles.forms import BRIDGE, JSON, LINK, NAMES, OPTIONS, PLUGIN
from pt_bridge.profiles.pasted_options import bridge_of, sorted_options
from pt_bridge.protocol.address import Address, is_wildcard, parse_host_port
from pt_bridge.text import excerpts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pt_bridge.formats.profile import Profile
    from pt_bridge.options.option_values import Values

# Where ss-local listens unless somebody says otherwise: so do all the manuals.
DEFAULT_LOCAL = ("127.0.0.1", 1080)
# An address for options that come without one.
NOWHERE = ("192.0.2.1", 1)
MAX_NAMED = 8  # keys in a note
# What means the same to a server and to its clients, of what we do not read.
CLIENTS_TOO = ("mode", "timeout", "fast_open", "no_delay")


def amend(
    profile: Profile,
    *,
    remote: str | None = None,
    local: str | None = None,
    method: str | None = None,
    password: str | None = None,
) -> Profile:
    """Replace what was read by what the command line says.

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


def for_clients(profile: Profile, line: str) -> Profile:
    """Return what a server's clients need.

    An address that only stands for all of the server's own is left out.

    Args:
        profile: the server's own.
        line: its clients' plugin options, as in client-options.txt.
    """
    hosts = tuple(host for host in profile.hosts if not is_wildcard(host))
    kept = {key: profile.others[key] for key in CLIENTS_TOO if key in profile.others}
    notes = profile.notes
    if dropped := [key for key in profile.others if key not in kept]:
        notes = (*notes, f"left out, since it is the server's: {_names(dropped)}")
    return replace(
        profile,
        hosts=hosts,
        plugin=PLUGIN,
        plugin_opts=line,
        local_host=None,
        local_port=None,
        others=kept,
        notes=notes,
    )


def _address(flag: str, text: str) -> Address:
    try:
        return parse_host_port(text)
    except ProtocolError as error:
        raise UsageError(f"{flag} is wrong: {error}") from None


def write(profile: Profile, form: str) -> str:
    """Write a profile in one of the four forms; `pasted.read` undoes it.

    Raises:
        UsageError: something is missing; it names the flag of ``pt-bridge convert``.
        OptionsError: the form cannot hold it.
    """
    own, given = sorted_options(profile)
    if form in (BRIDGE, OPTIONS) and profile.program != PLUGIN:
        raise OptionsError(
            f"this is for another plugin, or for none: only {PLUGIN}'s options make a "
            f"{NAMES[form]}"
        )
    if form in (BRIDGE, LINK) and SERVER in own:
        raise OptionsError(
            f"these are the server's own options, and a {NAMES[form]} is for its "
            f"clients: run this where the server is, or name its client-options.txt "
            f"with --client-options FILE"
        )
    if form == OPTIONS:
        return profile.plugin_opts
    _check_complete(profile, form)
    try:
        if form == BRIDGE:
            return _with_keyword(str(_bridge_line(profile, own, given)))
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
    is_vague = form == BRIDGE and any(map(is_wildcard, profile.hosts[:1]))
    if not profile.hosts or profile.port is None or is_vague:
        missing.append("--remote HOST:PORT")
    if form != BRIDGE and profile.method is None:
        missing.append("--method NAME")
    has_key = form == JSON and "key" in profile.others  # ss-libev's, in its place
    if form != BRIDGE and profile.password is None and not has_key:
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
    return BridgeLine(
        option_values.transport(Given(own)), address, given, profile.fingerprint
    )


def _with_keyword(line: str) -> str:
    """Return a bridge line with ``Bridge`` before it, if none would see it otherwise.

    A transport may be called ``ip``, or like a keyword of torrc's.
    """
    is_seen = excerpts.bridge_lines(line, TRANSPORTS).texts == [line]
    return line if is_seen else f"{excerpts.KEYWORD} {line}"


def notes(profile: Profile, form: str) -> list[str]:
    """List what a form leaves out of a profile, and what pt-bridge will refuse.

    Args:
        profile: one that `write` has written.
        form: the form.
    """
    found = [*profile.notes]
    if profile.fingerprint is not None:
        found.append(TOR_BRIDGE)
    if form != JSON and profile.others:
        found.append(f"left out, since only JSON can hold it: {_names(profile.others)}")
    own, _ = sorted_options(profile)
    others = [key for key in own if key not in ("transport", "bridge")]
    if form == BRIDGE and others:
        found.append(f"left out of the bridge line: {_names(others)}")
    if form == OPTIONS and profile.hosts and profile.method is None:
        found.append(
            "the address is no part of the options: set shadowsocks's server and "
            "server_port to it"
        )
    found += ciphers.doubts(profile.method, profile.password)
    return list(dict.fromkeys([*found, *_doubts(profile)]))


def _names(keys: Iterable[str]) -> str:
    names = list(keys)
    more = ", ..." if len(names) > MAX_NAMED else ""
    return f"{', '.join(names[:MAX_NAMED])}{more}"


def _doubts(profile: Profile) -> list[str]:
    """Return what pt-bridge would say of the options when it starts."""
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
