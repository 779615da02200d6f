"""shadowsocks's ``config.json``, as shadowsocks-libev and shadowsocks-rust have it.

::

    {"server": "192.0.2.1", "server_port": 8388,
     "method": "aes-256-gcm", "password": "...",
     "plugin": "pt-bridge", "plugin_opts": "transport=obfs4;cert=...;iat-mode=0",
     "local_address": "127.0.0.1", "local_port": 1080}

``server`` may be a list. One server may stand in a list called ``servers``
(shadowsocks-rust, SIP008), or in a bare one (the Android app's export). A port may be
text.
"""

from __future__ import annotations

import json
from math import isinf
from typing import NoReturn

from pt_bridge.errors import ProtocolError
from pt_bridge.protocol.address import parse_host, parse_port
from pt_bridge.protocol.profile import Profile

MAX_LENGTH = 128 * 1024  # characters; shadowsocks-libev's own limit, in bytes
MAX_DEPTH = 16  # brackets and braces within each other; shadowsocks-rust has 4
MAX_HOSTS = 10  # shadowsocks-libev takes no more
KEYS = (
    *("server", "server_port", "method", "password", "plugin", "plugin_opts"),
    *("remarks", "local_address", "local_port"),
)
# What shadowsocks-rust takes for some of them in its list.
ALIASES = {"address": "server", "port": "server_port"}
HINTS = {
    "Invalid \\escape": "in JSON, each backslash is written twice: \\\\",
    "Invalid control": "a line break or a tab cannot stand between quotes",
    "Expecting property": "there is a ',' too many before it, or a comment",
    "Unterminated string": "the quotes that begin there do not end",
    "Expecting ',": "there is no ',' before it, or a '\"' too many",
}


def parse(text: str) -> Profile:
    """Read a configuration.

    Raises:
        ProtocolError: it is none, or it has several servers; the place is named, and
            no value is shown.
    """
    if len(text) > MAX_LENGTH:
        raise ProtocolError(f"it is longer than {MAX_LENGTH} characters")
    values = _one_server(_load(text))
    if not values.keys() & set(KEYS):
        raise ProtocolError("it has nothing of shadowsocks's: no server, no password")
    return Profile(
        hosts=_hosts(values.get("server")),
        port=_port(values, "server_port"),
        method=_text(values, "method"),
        password=_text(values, "password"),
        plugin=_text(values, "plugin") or None,
        plugin_opts=_text(values, "plugin_opts") or "",
        name=_text(values, "remarks") or "",
        local_host=_host(_text(values, "local_address"), "local_address"),
        local_port=_port(values, "local_port"),
        others={key: value for key, value in values.items() if key not in KEYS},
    )


def _load(text: str) -> object:
    try:
        value: object = json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except json.JSONDecodeError as error:
        hint = next(
            (words for begin, words in HINTS.items() if error.msg.startswith(begin)),
            "it is not as JSON must be",
        )
        raise ProtocolError(
            f"it is broken at line {error.lineno}, column {error.colno}: {hint}"
        ) from None
    except (ValueError, RecursionError):  # 5,000 digits, 1e999; 1,000 brackets
        raise ProtocolError(
            "a number in it is too long, or it nests too deep"
        ) from None
    if _is_deep(value):
        raise ProtocolError(f"its brackets and braces nest deeper than {MAX_DEPTH}")
    return value


def _is_deep(value: object) -> bool:
    layer = [value]
    for _ in range(MAX_DEPTH + 1):
        layer = [
            child
            for each in layer
            if isinstance(each, dict | list)
            for child in (each.values() if isinstance(each, dict) else each)
        ]
    return bool(layer)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)  # NaN, Infinity: not JSON, though Python takes them


def _finite(number: str) -> float:
    value = float(number)
    if isinf(value):  # 1e999: JSON, but it could not be written again
        raise ValueError(number)
    return value


def _one_server(value: object) -> dict[str, object]:
    """Give what the file says of its one server, and for all."""
    rest: dict[str, object] = {}
    if isinstance(value, dict) and "server" not in value and "servers" in value:
        rest = {key: each for key, each in value.items() if key != "servers"}
        value = value["servers"]
    if isinstance(value, list):
        if len(value) != 1:
            raise ProtocolError(f"it has {len(value)} servers: leave one in it")
        value = value[0]
        if isinstance(value, dict):
            value = {**value}
            for alias, key in ALIASES.items():
                if alias in value and key not in value:
                    value[key] = value.pop(alias)
    if not isinstance(value, dict):
        raise ProtocolError("a server in it must stand in braces: { ... }")
    return {**rest, **value}


def _hosts(value: object) -> tuple[str, ...]:
    values = value if isinstance(value, list) else [value]
    if len(values) > MAX_HOSTS:
        raise ProtocolError(f"'server' in it has more than {MAX_HOSTS} addresses")
    hosts = (_host(_string(each, "server"), "server") for each in values)
    return tuple(host for host in hosts if host is not None)


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
        return parse_port(str(value) if type(value) in (int, str) else "")
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
