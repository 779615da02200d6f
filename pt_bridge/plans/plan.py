"""What one tunnel of ``pt-bridge run``'s file is to be: a `Plan`, read from its table.

Every option of ours is a key of the table, with what a flag may say: whoever writes the
file is the owner. What is for the transport stands in ``plugin-opts`` or in
``arguments``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from pt_bridge.errors import OwnerFileError, ProtocolError, UsageError
from pt_bridge.formats import bridge_line
from pt_bridge.options.option_values import BETWEEN
from pt_bridge.options.own_options import CLIENT, OPTIONS, SERVER
from pt_bridge.options.plugin_options import serialize
from pt_bridge.options.ss_variables import variables_from_flags
from pt_bridge.plans import toml_values

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pt_bridge.plans.toml_values import Table
    from pt_bridge.protocol.address import Address

# What belongs to the whole process, and the table and key where it stands.
OF_THE_PROCESS = {
    "loglevel": ("[log]", "level"),
    "logfile": ("[log]", "file"),
    "unsafe-logging": ("[log]", "unsafe"),
    "metrics": ("[metrics]", "listen"),
}
TOR_BEHIND = ("ext-orport", "ext-orport-cookie", "tor-control")
# The keys of a table that are no option of ours.
OWN_KEYS = ("name", "listen", "plugin-opts", "arguments")
KEYS = {SERVER: (*OWN_KEYS, "service"), CLIENT: (*OWN_KEYS, "server", "bridges")}
FLAG = re.compile(r"(?<![\w-])--([a-z][a-z0-9-]*)")
# Stands for an option without a value that is false.
LEFT_OUT = "\0"


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


def read_plan(table: Table, role: str, number: int) -> Plan:
    """Read the table of one tunnel.

    Args:
        table: it.
        role: ``server`` or ``client``.
        number: which of that role's tables it is, from 1.

    Raises:
        OwnerFileError: it is wrong; it says where.
    """
    name = table.get("name")
    where = f"[[{role}]] number {number}"
    if not isinstance(name, str) or not name.isprintable() or not name.strip():
        raise OwnerFileError(f'{where}: it needs a name, as name = "home"')
    where = f"[[{role}]] '{name}'"
    known = [key for key in OPTIONS if OPTIONS[key].side in ("", role)]
    for key, (other, instead) in OF_THE_PROCESS.items():
        if key in table:
            raise OwnerFileError(f"{where}: write {instead} in {other}, not {key} here")
    toml_values.check_keys(table, [*KEYS[role], *_keys(known)], where)
    listen = _addresses(table, where)
    flags = _flags(table, _keys(known, table), where)
    if role == SERVER:
        flags[SERVER] = None
        # A tor behind says itself where it is.
        behind = any(key in flags for key in TOR_BEHIND)
        local = listen[0] if behind else toml_values.address(table, "service", where)
        remote = _together(listen, where)
    else:
        bridges = []
        if "bridges" in table:
            bridges = toml_values.texts(table["bridges"], f"{where}: bridges")
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


def _flags(table: Table, keys: Sequence[str], where: str) -> dict[str, str | None]:
    """Return our own options as flags have them."""
    flags = {key: _value(key, table[key], f"{where}: {key}") for key in keys}
    return {key: value for key, value in flags.items() if value != LEFT_OUT}


def _value(key: str, value: object, where: str) -> str | None:
    if isinstance(value, bool):
        yes, no = ("yes", "no") if OPTIONS[key].value else (None, LEFT_OUT)
        return yes if value else no
    return toml_values.text(value, where)


def _addresses(table: Table, where: str) -> tuple[Address, ...]:
    if "listen" not in table:
        raise OwnerFileError(f'{where}: it needs listen = ["HOST:PORT"]')
    where = f"{where}: listen"
    return tuple(
        toml_values.parsed_address(text, where)
        for text in toml_values.texts(table["listen"], where)
    )


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
        return toml_values.text(table["server"], f"{where}: server")
    if not bridges:
        raise OwnerFileError(f'{where}: it needs server = "HOST:PORT"')
    try:
        return str(bridge_line.parse(bridges[0]).address)
    except ProtocolError as error:
        raise OwnerFileError(f"{where}: bridges is wrong: {error}") from None


def _options(table: Table, where: str) -> str:
    """Return the plugin options, with the arguments that stand by themselves."""
    given = toml_values.optional_text(table, "plugin-opts", where) or ""
    arguments = toml_values.table(table.get("arguments", {}), f"{where}: arguments")
    pairs = [
        (key, toml_values.text(value, f"{where}: arguments.{key}"))
        for key, value in arguments.items()
    ]
    return ";".join(filter(None, (given, serialize(pairs))))
