"""shadowsocks's ``config.json``, as shadowsocks-libev and shadowsocks-rust have it.

::

    {"server": "192.0.2.1", "server_port": 8388,
     "method": "aes-256-gcm", "password": "...",
     "plugin": "pt-bridge", "plugin_opts": "transport=obfs4;cert=...;iat-mode=0",
     "local_address": "127.0.0.1", "local_port": 1080}

``server`` may be a list, a port text, and a password a number, as for libev. It may be
JSON5, as for shadowsocks-rust (`pt_bridge.formats.json_text`), and stand in a file of
another program's (`pt_bridge.formats.server_list`).
"""

from __future__ import annotations

import json
import re

from pt_bridge.errors import ProtocolError
from pt_bridge.formats import json_text, server_list
from pt_bridge.formats.profile import Profile
from pt_bridge.protocol.address import parse_host, parse_host_port, parse_port

MAX_HOSTS = 10  # shadowsocks-libev takes no more
PLUGIN = "pt-bridge"
# How its options begin, and no plugin's name.
OPTIONS = re.compile(r"(?:server;)?transport=|cert=|bridge=")
NAME_AND_OPTIONS = re.compile(rf"([^;]+?)(?:;|\s+(?={OPTIONS.pattern}))(.+)", re.DOTALL)
KEYS = (
    *("server", "server_port", "method", "password", "plugin", "plugin_opts"),
    *("remarks", "local_address", "local_port"),
)
# Names that people give to plugin_opts: shadowsocks passes over them all.
PLUGIN_OPTS = frozenset({"plugin_opt", "plugin_options", "plugin_option", "pluginopts"})
# shadowsocks-libev reads a password's number into a C int.
MAX_NUMBER = 2**31 - 1


def parse(text: str) -> Profile:
    """Read a configuration.

    Raises:
        ProtocolError: it is none, or it has several servers; the place is named, and
            no value is shown.
    """
    return profile_of(json_text.load(text))


def holds_servers(value: object) -> bool:
    """Whether what JSON held has a place for servers.

    Raises:
        ProtocolError: something else stands there.
    """
    return server_list.find(value) is not None


def profile_of(value: object) -> Profile:
    """Read what JSON held.

    Raises:
        ProtocolError: it is no configuration, or it has several servers; no value is
            shown.
    """
    found = server_list.find(value)
    if found is None:
        raise ProtocolError("it has nothing of shadowsocks's: no server, no password")
    if len(found.servers) != 1:
        raise ProtocolError(f"it has {len(found.servers)} servers: leave one in it")
    return profile(found.servers[0], found.notes)


def profile(values: dict[str, object], notes: list[str]) -> Profile:
    """Create a profile of the keys that config.json has.

    Args:
        values: the keys and what they say.
        notes: sentences on what was left out on the way.

    Raises:
        ProtocolError: a value cannot be one; it names the key.
    """
    _check_keys(values)
    values = _one_password(values)
    notes = [*notes]
    hosts, ports = _hosts(values.get("server"))
    port = _port(values, "server_port")
    if ports:
        if {port, *ports} - {None} != {ports[0]}:
            raise ProtocolError("'server' in it has another port than 'server_port'")
        notes.append("the port in 'server' belongs in 'server_port'")
        port = ports[0]
    plugin, options = _plugin(values, notes)
    return Profile(
        hosts=hosts,
        port=port,
        method=_text(values, "method"),
        password=_password(values, notes),
        plugin=plugin,
        plugin_opts=options,
        name=_text(values, "remarks") or "",
        local_host=_host(_text(values, "local_address"), "local_address"),
        local_port=_port(values, "local_port"),
        others={key: value for key, value in values.items() if key not in KEYS},
        notes=tuple(notes),
    )


def _check_keys(values: dict[str, object]) -> None:
    """Check that no key is nearly one of ours: shadowsocks would pass over it.

    Raises:
        ProtocolError: one is; it says how to write it.
    """
    for key in values:
        like = _snake(key)
        like = "plugin_opts" if like in PLUGIN_OPTS else like
        if like in KEYS and key not in KEYS:
            raise ProtocolError(
                f"the key '{key}' in it must be written '{like}': as it is, "
                f"shadowsocks passes over it"
            )


def _plugin(values: dict[str, object], notes: list[str]) -> tuple[str | None, str]:
    """Return the plugin and its options, which some programs keep in one text.

    Raises:
        ProtocolError: its options stand behind a key that shadowsocks passes over.
    """
    plugin = _text(values, "plugin") or ""
    options = _text(values, "plugin_opts") or ""
    if not options:
        plugin, options = split_plugin(plugin, notes)
    for key, value in values.items():
        texts = value if isinstance(value, list) else [value]
        is_passed_over = key not in KEYS and not options
        if is_passed_over and any(OPTIONS.match(str(each)) for each in texts):
            raise ProtocolError(
                f"the key '{key}' in it must be written 'plugin_opts': as it is, "
                f"shadowsocks passes over it"
            )
    return plugin or None, options


def split_plugin(text: str, notes: list[str]) -> tuple[str, str]:
    """Split ``NAME;OPTIONS``, as links have it, or the options of ours alone.

    Args:
        text: what says which plugin it is.
        notes: gets what there is to say of that.
    """
    if OPTIONS.match(text):
        notes.append(f"the plugin's options come without its name: {PLUGIN}'s, perhaps")
        return PLUGIN, text
    plugin, options = text, ""
    if found := NAME_AND_OPTIONS.fullmatch(text):
        plugin, options = found.groups()
        notes.append("the options in 'plugin' belong in 'plugin_opts'")
    return plugin, options


def _one_password(values: dict[str, object]) -> dict[str, object]:
    """Return one port and its password for a server's list of them.

    Raises:
        ProtocolError: it lists several.
    """
    ports = values.get("port_password")
    if not isinstance(ports, dict) or "password" in values:
        return values
    if len(ports) != 1:
        raise ProtocolError(f"it has {len(ports)} servers: leave one in it")
    ((port, password),) = ports.items()
    rest = {key: each for key, each in values.items() if key != "port_password"}
    return {**rest, "server_port": port, "password": password}


def _snake(key: str) -> str:
    """Write a key as config.json has it: no hyphens, no capitals, no blanks."""
    words = "".join(f"_{c}" if c.isupper() else c for c in key.strip())
    return (
        words.lower().replace("-", "_").replace(" ", "_").replace("__", "_").lstrip("_")
    )


def _password(values: dict[str, object], notes: list[str]) -> str | None:
    value = values.get("password")
    if type(value) is int and 0 <= value <= MAX_NUMBER:
        notes.append(
            "the password is a number, which shadowsocks-libev alone reads: between "
            "quotes it is the same for all"
        )
        return str(value)
    return _text(values, "password")


def _hosts(value: object) -> tuple[tuple[str, ...], list[int]]:
    """Return the hosts, and the ports that stand behind them: libev takes both."""
    values = value if isinstance(value, list) else [value]
    if len(values) > MAX_HOSTS:
        raise ProtocolError(f"'server' in it has more than {MAX_HOSTS} addresses")
    hosts, ports = [], []
    for each in values:
        text = (_string(each, "server") or "").strip()
        if text and _has_port(text):
            try:
                address = parse_host_port(text)
            except ProtocolError as error:
                raise ProtocolError(f"'server' in it is wrong: {error}") from None
            hosts.append(address.host)
            ports.append(address.port)
        elif host := _host(text, "server"):
            hosts.append(host)
    return tuple(hosts), ports


def _has_port(text: str) -> bool:
    """Whether this is ``HOST:PORT``, and no IPv6 address or URL."""
    host, colon, port = text.rpartition(":")
    is_host = ":" not in host or (host.startswith("[") and host.endswith("]"))
    return bool(colon) and port.isdigit() and is_host


def _host(text: str | None, key: str) -> str | None:
    if not text:
        return None
    try:
        return parse_host(text)
    except ProtocolError as error:
        raise ProtocolError(f"'{key}' in it is wrong: {error}") from None


def _port(values: dict[str, object], key: str) -> int | None:
    value = values.get(key)
    if value is None:
        return None
    try:
        # A bool is an int to Python.
        return parse_port(str(value).strip() if type(value) in (int, str) else "")
    except ProtocolError as error:
        raise ProtocolError(f"'{key}' in it is wrong: {error}") from None


def _text(values: dict[str, object], key: str) -> str | None:
    return _string(values.get(key), key)


def _string(value: object, key: str) -> str | None:
    if value is not None and not isinstance(value, str):
        raise ProtocolError(f"'{key}' in it must be text between quotes")
    return value


def serialize(profile: Profile) -> str:
    """Write a configuration; `parse` undoes it. What is None or empty is left out."""
    hosts = profile.hosts[0] if len(profile.hosts) == 1 else list(profile.hosts)
    values = {
        "server": hosts or None,
        "server_port": profile.port,
        "local_address": profile.local_host,
        "local_port": profile.local_port,
        "method": profile.method,
        "password": profile.password,
        "plugin": profile.plugin,
        "plugin_opts": profile.plugin_opts or None,
        "remarks": profile.name or None,
    }
    known = {key: value for key, value in values.items() if value is not None}
    return json.dumps({**known, **profile.others}, indent=4)
