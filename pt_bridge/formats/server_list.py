"""Where other programs' JSON has its shadowsocks servers.

shadowsocks-rust and SIP008 (``servers``), shadowsocks-windows (``configs``), the
Android app (a bare list), sing-box and Xray (``outbounds``), Clash (``proxies``): what
they call a server becomes what ``config.json`` calls it.
"""

from __future__ import annotations

from typing import NamedTuple

from pt_bridge.errors import ProtocolError

# What one program or the other calls a key of config.json.
ALIASES = {
    "address": "server",
    "port": "server_port",
    "cipher": "method",
    "encryption": "method",
    "localPort": "local_port",
    "pluginOpts": "plugin_opts",
    "tag": "remarks",
    "name": "remarks",
}
# What else people call them, where no list of servers says whose file it is.
SLIPS = {
    "host": "server",
    "hostname": "server",
    "addr": "server",
    "serverport": "server_port",
    "pass": "password",
    "passwd": "password",
}
NAMES = {**ALIASES, **SLIPS}
SERVER = frozenset({"server", "server_port", "method", "password", "plugin"})
SHADOWSOCKS = ("shadowsocks", "ss")
# What tells whose file it is, and what of it is no server's.
GUI, CLASH, OUTBOUNDS = "configs", "proxies", "outbounds"
OWNERS = {
    GUI: "shadowsocks-windows",
    CLASH: "Clash",
    OUTBOUNDS: "sing-box or Xray",
}
# Keys that only say what kind of server it is, or nothing outside its program.
KINDS = frozenset({"type", "protocol", "udp", "udp-over-tcp"})


class Found(NamedTuple):
    """What was found in a file.

    Attributes:
        servers: each as config.json would have it.
        notes: sentences on what is left out.
    """

    servers: list[dict[str, object]]
    notes: list[str]


def find(value: object) -> Found | None:
    """Return the servers in what JSON held; None where it has no place for any.

    Raises:
        ProtocolError: it holds something else in their place; it says what.
    """
    if isinstance(value, dict):
        _check_is_no_servers_own(value)
        for key, owner in OWNERS.items():
            if isinstance(value.get(key), list) and not value.keys() & SERVER:
                return _of_another(key, owner, value)
        if value.get("server") is None and "servers" in value:
            rest = {key: each for key, each in value.items() if key != "servers"}
            return _enabled(_merged(rest, value["servers"]))
        if _is_outbound(value):
            return _of_another(OUTBOUNDS, OWNERS[OUTBOUNDS], {OUTBOUNDS: [value]})
        if _is_like_one(value):
            return _of_one(_checked(value))
        within = [each for each in value.values() if isinstance(each, dict)]
        return find(within[0]) if len(within) == 1 else None
    if isinstance(value, list) and any(not isinstance(each, str) for each in value):
        return _enabled(_merged({}, value))
    return None


def _is_outbound(value: dict[str, object]) -> bool:
    """Tell one server of Xray's, which some share by itself."""
    return value.get("protocol") in SHADOWSOCKS and isinstance(
        value.get("settings"), dict
    )


def _of_one(value: dict[str, object]) -> Found:
    """Return one server, and what of its keys shadowsocks would pass over."""
    slips = [
        key for key in value if NAMES.get(key) in SERVER and NAMES[key] not in value
    ]
    notes = [
        f"'{key}' in it must be written '{NAMES[key]}': as it is, shadowsocks passes "
        f"over it"
        for key in slips
    ]
    return Found([{NAMES[k] if k in slips else k: v for k, v in value.items()}], notes)


def _enabled(servers: list[dict[str, object]]) -> Found:
    """Leave out the servers that shadowsocks-rust is told to leave out."""
    found = [server for server in servers if server.get("disabled") is not True]
    number = len(servers) - len(found)
    if not (found and number):
        return Found(servers, [])
    return Found(found, ["left out: what is disabled in it"])


def _check_is_no_servers_own(value: dict[str, object]) -> None:
    """Check that a file is not what a server keeps for itself.

    Raises:
        ProtocolError: it is; it says what its clients need.
    """
    if "apiUrl" in value:
        raise ProtocolError(
            "it is the key with which Outline manages a server: keep it to yourself, "
            "and give one of the access keys, which begin with ss://"
        )
    if "private-key" in value:
        raise ProtocolError(
            "it is the PT's own state, with its private key: keep it to yourself; "
            "clients need what stands in client-options.txt"
        )
    places = value.get("inbounds")
    inbounds = places if isinstance(places, list) else []
    kinds = [
        each.get("type", each.get("protocol"))
        for each in inbounds
        if isinstance(each, dict)
    ]
    if OUTBOUNDS not in value and any(kind in SHADOWSOCKS for kind in kinds):
        raise ProtocolError(
            "it is a server's own (inbounds): give what its clients get"
        )


def _is_like_one(value: dict[str, object]) -> bool:
    if value.keys() & {*SERVER, "plugin_opts", "local_port", "local_address"}:
        return True
    found = {NAMES.get(key) for key in value} & SERVER
    return {"server", "server_port", "password"} <= found


def _merged(rest: dict[str, object], values: object) -> list[dict[str, object]]:
    """Return each server with what the file says for all."""
    if not isinstance(values, list):
        raise _no_braces()
    return [{**rest, **_renamed(_checked(each))} for each in values]


def _no_braces() -> ProtocolError:
    return ProtocolError("a server in it must stand in braces: { ... }")


def _checked(value: object) -> dict[str, object]:
    """Check that it is a server of shadowsocks's.

    Raises:
        ProtocolError: it is none.
    """
    if not isinstance(value, dict):
        raise _no_braces()
    kind = value.get("type")
    if "server" in value and isinstance(kind, str) and kind not in SHADOWSOCKS:
        name = kind if kind.isidentifier() else "something else"
        raise ProtocolError(f"the server in it is for {name}, and not for shadowsocks")
    return value


def _renamed(value: dict[str, object]) -> dict[str, object]:
    value = {**value}
    for alias, key in ALIASES.items():
        if alias in value and key not in value:
            value[key] = value.pop(alias)
    return value


def _of_another(key: str, owner: str, value: dict[str, object]) -> Found:
    """Return the servers of a file that holds more than shadowsocks's settings."""
    places = value[key]
    assert isinstance(places, list)  # the caller has looked
    servers = []
    for place in places:
        if not isinstance(place, dict):
            raise _no_braces()
        kind = place.get("type", place.get("protocol", SHADOWSOCKS[0]))
        if kind in SHADOWSOCKS:
            servers += _flattened(place)
    if not servers:
        raise ProtocolError(f"it is a file of {owner}'s, with no shadowsocks server")
    known = {"localPort": value["localPort"]} if "localPort" in value else {}
    others = value.keys() - {key, "localPort"}
    notes = [f"left out: what else this file of {owner}'s says"] if others else []
    servers = [_renamed({**known, **server}) for server in servers]
    return Found([_known(server, notes) for server in servers], notes)


def _known(server: dict[str, object], notes: list[str]) -> dict[str, object]:
    """Leave out what only its own program understands."""
    opts = server.pop("plugin-opts", None)
    if isinstance(opts, str):
        server.setdefault("plugin_opts", opts)
    elif opts is not None:
        notes.append("left out: plugin-opts, which are not written as pt-bridge's are")
    return {key: each for key, each in server.items() if key not in KINDS}


def _flattened(place: dict[str, object]) -> list[dict[str, object]]:
    """Return the servers of one place: Xray's have a list of them in settings."""
    settings = place.get("settings")
    if not isinstance(settings, dict):
        return [{**place}]
    servers = settings.get("servers", [settings])
    if not isinstance(servers, list):
        raise _no_braces()
    return [{**_checked(server)} for server in servers]
