"""The values of a TOML file: each of the type that is asked for, or an error.

The error says where the value stands: `where` names its table, and its key if it has
one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pt_bridge.errors import OwnerFileError, ProtocolError
from pt_bridge.protocol.address import Address, parse_host_port
from pt_bridge.text.spelling import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Table = Mapping[str, object]


def check_keys(table: Table, known: Iterable[str], where: str) -> None:
    """Check that a table has no key but those that are known."""
    allowed = tuple(known)
    for key in table:
        if key not in allowed:
            hint = did_you_mean(key, allowed) or f" (it knows: {', '.join(allowed)})"
            raise OwnerFileError(f"{where} knows no '{key}'{hint}")


def table(value: object, where: str) -> Table:
    """Return a table."""
    if not isinstance(value, dict):
        raise OwnerFileError(f"{where} must be a table")
    return value


def tables(whole: Table, name: str) -> list[Table]:
    """Return the tables of a name; none where there is no such."""
    value = whole.get(name, [])
    if not isinstance(value, list):
        raise OwnerFileError(f"write [[{name}]], with two brackets, for a {name}")
    return [table(each, f"[[{name}]]") for each in value]


def text(value: object, where: str) -> str:
    """Return a text; a number is one, too."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise OwnerFileError(f'{where} must be a text, as "..."')
    return str(value)


def texts(value: object, where: str) -> list[str]:
    """Return a list of texts, for which one alone may stand."""
    values = value if isinstance(value, list) else [value]
    if not values:
        raise OwnerFileError(f"{where} must not be empty")
    return [text(each, where) for each in values]


def flag(value: object, where: str) -> bool:
    """Return whether something is so."""
    if not isinstance(value, bool):
        raise OwnerFileError(f"{where} must be true or false")
    return value


def optional_text(table: Table, key: str, where: str) -> str | None:
    """Return the text of a key, or None where it is not there."""
    return None if key not in table else text(table[key], f"{where}: {key}")


def address(table: Table, key: str, where: str) -> Address:
    """Return the address of a key that must be there."""
    text = optional_text(table, key, where)
    if text is None:
        raise OwnerFileError(f'{where}: it needs {key} = "HOST:PORT"')
    return parsed_address(text, f"{where}: {key}")


def parsed_address(text: str, where: str) -> Address:
    """Read an address."""
    try:
        return parse_host_port(text)
    except ProtocolError as error:
        raise OwnerFileError(f"{where} is wrong: {error}") from None
