"""``pt-bridge show``: what a server's owner hands out to its clients."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from pt_bridge.cli import hand_out, of_service, qr_code, read_input, run_command
from pt_bridge.errors import UsageError
from pt_bridge.files import unit
from pt_bridge.formats.profile import Profile
from pt_bridge.options.config import Config
from pt_bridge.options.own_options import CLIENT, SERVER
from pt_bridge.options.ss_variables import variables_from_flags
from pt_bridge.profiles import convert, pasted
from pt_bridge.profiles.forms import BRIDGE, LINK, PLUGIN
from pt_bridge.protocol.address import is_wildcard, parse_host_port

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

CONF = "/etc/pt-bridge/{}.conf"
# What pt-bridge.service runs, and where it keeps its keys.
TUNNELS = "/etc/pt-bridge/tunnels.toml"
TUNNELS_STATE = {b"STATE_DIRECTORY": b"/var/lib/pt-bridge-run"}
NO_ADDRESS = (
    "add --remote HOST:PORT, as clients reach this server, for what holds an address"
)
IS_CLIENT = (
    "this is a client's, and what it was given itself: for a server's clients, give "
    "the server's config.json, its unit, or the FILE.toml that names it"
)


def run(
    given: argparse.Namespace,
    parse: Callable[[Sequence[str]], argparse.Namespace],
    flags_of: Callable[[argparse.Namespace], dict[str, str | None]],
) -> tuple[str, list[str]]:
    """Return what clients need, and what there is to say of that.

    Args:
        given: the command line.
        parse: reads such a one of pt-bridge's.
        flags_of: returns our own options of that.

    Raises:
        ConfigError: there is no such server, or it has never run, or it holds something
            that cannot be handed out.
    """
    name = given.what
    if name.endswith(".toml") or (os.path.isfile(TUNNELS) and name in _names(TUNNELS)):
        profile = _of_tunnel(name, given.name)
    elif given.name is not None:
        raise UsageError("a second NAME is one in a FILE.toml, which must come first")
    else:
        profile = _profile(name, parse, flags_of)
    profile = convert.amend(profile, remote=given.remote)
    return describe(profile, given.output)


def describe(profile: Profile, output: str | None) -> tuple[str, list[str]]:
    """Write all forms of what clients need that can be written, and a QR code."""
    notes = list(profile.notes)
    parts = [("Plugin options", profile.plugin_opts)]
    if not profile.hosts or profile.port is None:
        if output is not None:
            raise UsageError(NO_ADDRESS)
        return _written(parts), [*notes, NO_ADDRESS]
    parts.append(("Bridge line", convert.write(profile, BRIDGE)))
    if profile.method is not None and profile.password is not None:
        parts.append(("Link", convert.write(profile, LINK)))
    what, text = parts[-1]
    if output is not None:
        qr_code.write(text, output)
    elif qr_code.is_possible():
        parts.append((f"QR code of the {what.lower()}", qr_code.draw(text).rstrip()))
    else:
        notes.append(qr_code.MISSING)
    return _written(parts), notes


def _written(parts: list[tuple[str, str]]) -> str:
    return "\n\n".join(f"{title}:\n{text}" for title, text in parts) + "\n"


def _profile(
    name: str,
    parse: Callable[[Sequence[str]], argparse.Namespace],
    flags_of: Callable[[argparse.Namespace], dict[str, str | None]],
) -> Profile:
    """Read what a name stands for, as clients need it."""
    if not unit.is_unit(name) and os.path.exists(CONF.format(name)):
        name = CONF.format(name)
    is_file = os.path.isfile(name) and not unit.is_unit(name)
    if is_file:
        return _for_clients(pasted.read(read_input.read(os.path.abspath(name))))
    if not unit.is_unit(name):
        name = f"{name}.service"
    service = unit.read(name)
    if os.path.basename(service.words[0]) != PLUGIN:
        text = of_service.configuration(service.words)
        return _for_clients(pasted.read(text), service.variables)
    given = parse(service.words[1:])
    if given.command not in (CLIENT, SERVER):
        raise UsageError(f"{name} starts pt-bridge neither as client nor as server")
    return _of_command(given, flags_of(given), service.variables)


def _names(path: str) -> list[str]:
    """Return what the tunnels of a file are called."""
    file, _ = run_command.read(path)
    return [plan.name for plan in file.plans]


def _of_tunnel(what: str, name: str | None) -> Profile:
    """Read a server of ``pt-bridge run``.

    Args:
        what: its file, or its name in the file that pt-bridge.service runs.
        name: its name, where `what` is a file with several servers.
    """
    path, name = (what, name) if what.endswith(".toml") else (TUNNELS, what)
    is_service = os.path.abspath(path) == TUNNELS
    _, planned = run_command.read(path)
    servers = {plan.name: config for plan, config in planned if config.server}
    if name in [plan.name for plan, config in planned if not config.server]:
        named = f": give one of its servers: {', '.join(servers)}" if servers else ""
        raise UsageError(f"'{name}' in {path} is a client{named}")
    if name is None and len(servers) == 1:
        (name,) = servers
    if name not in servers:
        raise UsageError(
            f"name one of the servers of {path} behind it: {', '.join(servers)}"
            if servers
            else f"there is no server in {path}"
        )
    config = servers[name]
    line = hand_out.read_line(
        hand_out.client_options_path(
            config,
            TUNNELS_STATE if is_service else os.environb,
            is_service=is_service,
        )
    )
    hosts = tuple(host for host in config.remote_hosts if not is_wildcard(host))
    return Profile(
        hosts=hosts[:1],
        port=config.remote_port,
        plugin=PLUGIN,
        plugin_opts=line,
    )


def _for_clients(
    profile: Profile, variables: dict[bytes, bytes] | None = None
) -> Profile:
    if not hand_out.is_server(profile):
        return profile.with_notes(IS_CLIENT)
    return hand_out.of_profile(profile, variables=variables)


def _of_command(
    given: argparse.Namespace,
    flags: dict[str, str | None],
    variables: dict[bytes, bytes],
) -> Profile:
    """Read a pt-bridge that has no shadowsocks around it."""
    address = parse_host_port(given.remote)
    hosts = () if is_wildcard(address.host) else (address.host,)
    profile = Profile(
        hosts=hosts,
        port=address.port,
        plugin=PLUGIN,
        plugin_opts=given.plugin_opts or "",
    )
    if given.command == CLIENT:
        return profile.with_notes(IS_CLIENT)
    config = Config(
        variables_from_flags(
            local=given.local,
            remote=given.remote,
            plugin_options=given.plugin_opts or "",
        ),
        plugin=False,
        flags={**flags, SERVER: None},
    )
    path = hand_out.client_options_path(config, variables, is_service=True)
    return replace(profile, plugin_opts=hand_out.read_line(path))
