"""The file of ``pt-bridge run``: TOML in, one plan for each tunnel out.

::

    [[server]]
    name = "home"
    listen = ["0.0.0.0:443", "[::]:443"]
    service = "127.0.0.1:8388"
    transport = "obfs4"

    [[client]]
    name = "away"
    listen = ["127.0.0.1:1984"]
    server = "192.0.2.1:443"
    plugin-opts = "transport=obfs4;session=1;cert=...;iat-mode=0"

Every option of ours is a key of a table, too, with what a flag may say: whoever writes
the file is the owner. What is for the transport stands in ``plugin-opts`` or in
``arguments``.
"""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, NamedTuple

from pt_bridge.errors import OptionsError, OwnerFileError, ProtocolError, UsageError
from pt_bridge.formats import bridge_line
from pt_bridge.options import option_values
from pt_bridge.options.operators import metrics_place
from pt_bridge.options.option_values import BETWEEN, LOG_LEVELS
from pt_bridge.options.own_options import CLIENT, OPTIONS, SERVER
from pt_bridge.options.plugin_options import serialize
from pt_bridge.options.ss_variables import variables_from_flags
from pt_bridge.protocol.address import Address, is_wildcard, parse_host_port
from pt_bridge.text.spelling import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    Table = Mapping[str, object]

MAX_TUNNELS = 1000
# What belongs to the whole process, and the table and key where it stands.
TOR_BEHIND = ("ext-orport", "ext-orport-cookie", "tor-control")
OF_THE_PROCESS = {
    "loglevel": ("[log]", "level"),
    "logfile": ("[log]", "file"),
    "unsafe-logging": ("[log]", "unsafe"),
    "metrics": ("[metrics]", "listen"),
}
# The keys of a table that are no option of ours.
OWN_KEYS = ("name", "listen", "plugin-opts", "arguments")
KEYS = {SERVER: (*OWN_KEYS, "service"), CLIENT: (*OWN_KEYS, "server", "bridges")}
FLAG = re.compile(r"(?<![\w-])--([a-z][a-z0-9-]*)")
# Stands for an option without a value that is false.
LEFT_OUT = "\0"
TABLES = (SERVER, CLIENT, "log", "metrics")


class Plan(NamedTuple):
    """What one tunnel is to be; two that are equal ask for the same.

    Attributes:
        name: what the owner calls it.
        role: ``server`` or ``client``.
        listen: where it listens; a server's addresses have one port.
        variables: SS_*, as shadowsocks would have made them.
        flags: our own options.
    """

    name: str
    role: str
    listen: tuple[Address, ...]
    variables: Mapping[bytes, bytes]
    flags: Mapping[str, str | None]

    @property
    def where(self) -> str:
        """Where it stands in the file."""
        return f"[[{self.role}]] '{self.name}'"

    def in_its_words(self, text: str) -> str:
        """Return a sentence that names flags with the keys of the file in place."""
        return _in_its_words(text, self.role)


class TunnelsFile(NamedTuple):
    """All that a file says.

    Attributes:
        plans: its tunnels, in order.
        loglevel: one of `option_values.LOG_LEVELS`.
        logfile: where to log, too, or None.
        unsafe_logging: whether addresses stay in the log.
        metrics: where numbers are served: an address, a Unix socket's path, or None.
    """

    plans: Sequence[Plan]
    loglevel: str
    logfile: str | None
    unsafe_logging: bool
    metrics: Address | str | None

    def notes_on_change(self, before: TunnelsFile) -> list[str]:
        """Say what of the whole process is not as before, and stays as it was."""
        log = (self.loglevel, self.logfile, self.unsafe_logging)
        changed = [
            *(["[log]"] * (log != before[1:4])),
            *(["[metrics]"] * (self.metrics != before.metrics)),
        ]
        return [f"{each} has changed: restart pt-bridge for that" for each in changed]


def read(data: bytes, path: str) -> TunnelsFile:
    """Read a file of tunnels.

    Args:
        data: what it holds.
        path: what it is called in errors.

    Raises:
        OwnerFileError: it is none; it says where, and what to write.
    """
    try:
        return _read(data)
    except OwnerFileError as error:
        raise OwnerFileError(f"{path}: {error}") from None


def _read(data: bytes) -> TunnelsFile:
    try:
        tables = tomllib.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise OwnerFileError("it must be UTF-8 text") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise OwnerFileError(f"it must be TOML: {_first_line(error)}") from None
    _check_keys(tables, TABLES, "the file")
    log = _table(tables.get("log", {}), "[log]")
    _check_keys(log, _keys_of("[log]"), "[log]")
    level = log.get("level", option_values.DEFAULT_LOG_LEVEL)
    if level not in LOG_LEVELS:
        raise OwnerFileError(f"[log]: level must be one of: {', '.join(LOG_LEVELS)}")
    plans = [
        _plan(table, role, number)
        for role in (SERVER, CLIENT)
        for number, table in enumerate(_tables(tables, role), 1)
    ]
    if not plans:
        raise OwnerFileError("it names no tunnel: write a [[server]] or a [[client]]")
    if len(plans) > MAX_TUNNELS:
        raise OwnerFileError(f"it names more than {MAX_TUNNELS} tunnels")
    _check_names(plans)
    _check_ports(plans)
    _check_state(plans)
    return TunnelsFile(
        plans,
        str(level),
        _optional(log, "file", "[log]"),
        _flag(log.get("unsafe", False), "[log]: unsafe"),
        _metrics(_table(tables.get("metrics", {}), "[metrics]")),
    )


def _keys_of(table: str) -> list[str]:
    return [key for where, key in OF_THE_PROCESS.values() if where == table]


def _metrics(table: Table) -> Address | str | None:
    """Read where numbers are served."""
    _check_keys(table, _keys_of("[metrics]"), "[metrics]")
    place = _optional(table, "listen", "[metrics]")
    try:
        return None if place is None else metrics_place(place)
    except OptionsError as error:
        text = str(error).replace("metrics=", "listen=").replace("= ", " ", 1)
        raise OwnerFileError(f"[metrics]: {text}") from None


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _check_keys(table: Table, known: Iterable[str], where: str) -> None:
    allowed = tuple(known)
    for key in table:
        if key not in allowed:
            hint = did_you_mean(key, allowed) or f" (it knows: {', '.join(allowed)})"
            raise OwnerFileError(f"{where} knows no '{key}'{hint}")


def _table(value: object, where: str) -> Table:
    if not isinstance(value, dict):
        raise OwnerFileError(f"{where} must be a table")
    return value


def _tables(tables: Table, role: str) -> list[Table]:
    value = tables.get(role, [])
    if not isinstance(value, list):
        raise OwnerFileError(f"write [[{role}]], with two brackets, for a {role}")
    return [_table(each, f"[[{role}]]") for each in value]


def _plan(table: Table, role: str, number: int) -> Plan:
    name = table.get("name")
    where = f"[[{role}]] number {number}"
    if not isinstance(name, str) or not name.isprintable() or not name.strip():
        raise OwnerFileError(f'{where}: it needs a name, as name = "home"')
    where = f"[[{role}]] '{name}'"
    known = [key for key in OPTIONS if OPTIONS[key].side in ("", role)]
    for key, (other, instead) in OF_THE_PROCESS.items():
        if key in table:
            raise OwnerFileError(f"{where}: write {instead} in {other}, not {key} here")
    _check_keys(table, [*KEYS[role], *_keys(known)], where)
    listen = _addresses(table, where)
    flags = _flags(table, _keys(known, table), where)
    if role == SERVER:
        flags[SERVER] = None
        # A tor behind says itself where it is.
        behind = any(key in flags for key in TOR_BEHIND)
        local = listen[0] if behind else _address(table, "service", where)
        remote = _together(listen, where)
    else:
        bridges = []
        if "bridges" in table:
            bridges = _list(table["bridges"], f"{where}: bridges")
            flags["bridge"] = BETWEEN.join(bridges)
        if "socks" in flags:
            raise OwnerFileError(
                f"{where}: socks is a flag of 'pt-bridge client' alone: run that beside"
            )
        local, remote = listen[0], _server(table, bridges, where)
    try:
        variables = variables_from_flags(
            local=str(local), remote=remote, plugin_options=_options(table, where)
        )
    except UsageError as error:
        text = _in_its_words(str(error), role)
        raise OwnerFileError(f"{where}: {text}") from None
    return Plan(name, role, listen, variables, flags)


def _in_its_words(text: str, role: str) -> str:
    words = {"local": "service", "remote": "listen"}
    if role == CLIENT:
        words = {"local": "listen", "remote": "server"}
    return FLAG.sub(lambda found: words.get(found[1], found[1]), text)


def _keys(known: Sequence[str], table: Table | None = None) -> list[str]:
    """Return which of our options are keys; with a table, which of these it has."""
    others = (SERVER, "bridge", "bridges", *OF_THE_PROCESS)  # bridges: the lines here
    own = (key for key in known if key not in others)
    return [key for key in own if table is None or key in table]


def _text(value: object, where: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise OwnerFileError(f'{where} must be a text, as "..."')
    return str(value)


def _flag(value: object, where: str) -> bool:
    if not isinstance(value, bool):
        raise OwnerFileError(f"{where} must be true or false")
    return value


def _optional(table: Table, key: str, where: str) -> str | None:
    return None if key not in table else _text(table[key], f"{where}: {key}")


def _flags(table: Table, keys: Sequence[str], where: str) -> dict[str, str | None]:
    """Return our own options as flags have them."""
    flags = {key: _value(key, table[key], f"{where}: {key}") for key in keys}
    return {key: value for key, value in flags.items() if value != LEFT_OUT}


def _value(key: str, value: object, where: str) -> str | None:
    if isinstance(value, bool):
        yes, no = ("yes", "no") if OPTIONS[key].value else (None, LEFT_OUT)
        return yes if value else no
    return _text(value, where)


def _address(table: Table, key: str, where: str) -> Address:
    text = _optional(table, key, where)
    if text is None:
        raise OwnerFileError(f'{where}: it needs {key} = "HOST:PORT"')
    return _parsed(text, f"{where}: {key}")


def _parsed(text: str, where: str) -> Address:
    try:
        return parse_host_port(text)
    except ProtocolError as error:
        raise OwnerFileError(f"{where} is wrong: {error}") from None


def _list(value: object, where: str) -> list[str]:
    """Return a list of texts, for which one alone may stand."""
    values = value if isinstance(value, list) else [value]
    if not values:
        raise OwnerFileError(f"{where} must not be empty")
    return [_text(each, where) for each in values]


def _addresses(table: Table, where: str) -> tuple[Address, ...]:
    if "listen" not in table:
        raise OwnerFileError(f'{where}: it needs listen = ["HOST:PORT"]')
    where = f"{where}: listen"
    return tuple(_parsed(text, where) for text in _list(table["listen"], where))


def _together(listen: Sequence[Address], where: str) -> str:
    """Return a server's addresses as --remote has them."""
    ports = {address.port for address in listen}
    if len(ports) > 1:
        raise OwnerFileError(
            f"{where}: listen has several ports, and a server has one: write a "
            f"[[server]] for each"
        )
    hosts = (str(address).rpartition(":")[0] for address in listen)
    return f"{'|'.join(hosts)}:{ports.pop()}"


def _server(table: Table, bridges: Sequence[str], where: str) -> str:
    """Return a client's server as --remote has it, or the first bridge's address."""
    if "server" in table:
        return _text(table["server"], f"{where}: server")
    if not bridges:
        raise OwnerFileError(f'{where}: it needs server = "HOST:PORT"')
    try:
        return str(bridge_line.parse(bridges[0]).address)
    except ProtocolError as error:
        raise OwnerFileError(f"{where}: bridges is wrong: {error}") from None


def _options(table: Table, where: str) -> str:
    """Return the plugin options, with the arguments that stand by themselves."""
    given = _optional(table, "plugin-opts", where) or ""
    arguments = _table(table.get("arguments", {}), f"{where}: arguments")
    pairs = [
        (key, _text(value, f"{where}: arguments.{key}"))
        for key, value in arguments.items()
    ]
    return ";".join(filter(None, (given, serialize(pairs))))


def _check_names(plans: Sequence[Plan]) -> None:
    names: set[str] = set()
    for plan in plans:
        if plan.name in names:
            raise OwnerFileError(
                f"two tunnels are called '{plan.name}': rename one of them"
            )
        names.add(plan.name)


def _check_ports(plans: Sequence[Plan]) -> None:
    taken: list[tuple[Address, Plan]] = []
    for plan in plans:
        for address in plan.listen:
            for other, holder in taken:
                if overlap(address, other):
                    raise OwnerFileError(
                        f"{holder.where} and {plan.where} both listen on port "
                        f"{address.port}: give one of them another"
                    )
        taken += [(address, plan) for address in plan.listen]


def overlap(one: Address, other: Address) -> bool:
    """Whether only one of two programs can listen on these."""
    if one.port != other.port or (":" in one.host) != (":" in other.host):
        return False
    return one.host == other.host or is_wildcard(one.host) or is_wildcard(other.host)


def _check_state(plans: Sequence[Plan]) -> None:
    folders: dict[str, Plan] = {}
    for plan in plans:
        state = plan.flags.get("state")
        if state is None:
            continue
        if state in folders:
            raise OwnerFileError(
                f"{folders[state].where} and {plan.where} have the same state: give "
                f"each a folder of its own"
            )
        folders[state] = plan
