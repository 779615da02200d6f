"""JSON, and JSON5 where it is none: what shadowsocks-rust reads, and people write.

JSON5 has comments, commas behind the last of a list, bare keys and single quotes.
"""

from __future__ import annotations

import json
import re
from math import isfinite
from typing import TYPE_CHECKING, NoReturn

from pt_bridge.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_LENGTH = 128 * 1024  # characters; shadowsocks-libev's own limit, in bytes
MAX_DEPTH = 16  # brackets and braces within each other; shadowsocks-rust has 4
BACKSLASHES = "in JSON, each backslash is written twice: \\\\"
HINTS = {
    "Invalid \\escape": BACKSLASHES,
    "Invalid control": "a line break or a tab cannot stand between quotes",
    "Unterminated string": "the quotes that begin there do not end",
    "Extra data": "it has ended before: a brace too many, or a second configuration",
    "Expecting ',": "there is no ',' before it, or a '\"' too many",
}
# JSON5 takes any of them, and leaves the backslash out: the options would be others.
STRAY_BACKSLASH = re.compile(
    r"""(?<!\\)(?:\\\\)*(\\[^\\"'/bfnrtuvx0\r\n\u2028\u2029])"""
)
CURLY_QUOTES = "\u201c\u201d\u2018\u2019\u201e"
PYTHON = re.compile(r"(?:True|False|None)\b")
# Where the library says that it could not go on.
PLACE = re.compile(r":([0-9]+) .* at column ([0-9]+)$", re.DOTALL)

# Where nobody knows better.
NOT_JSON = (
    "JSON cannot go on like that: look for a comma, a quote or a brace too many or too "
    "few"
)


def load(text: str) -> object:
    """Read JSON, or JSON5.

    Raises:
        ProtocolError: it is neither, or has a key twice, or what JSON cannot hold; the
            place is named, and no value is shown.
    """
    if len(text) > MAX_LENGTH:
        raise ProtocolError(f"it is longer than {MAX_LENGTH} characters")
    try:
        value = _load(text)
    except RecursionError:
        raise ProtocolError(
            f"its brackets and braces nest deeper than {MAX_DEPTH}"
        ) from None
    _check(value)
    return value


def _load(text: str) -> object:
    try:
        value: object = json.loads(
            text, parse_constant=_refuse, object_pairs_hook=_unique
        )
    except json.JSONDecodeError as error:
        hint = next(
            (words for begin, words in HINTS.items() if error.msg.startswith(begin)),
            "",
        )
        if hint == BACKSLASHES:
            raise _broken(error.lineno, error.colno, hint) from None
        return _load5(text, error, hint)
    except ValueError:  # 5,000 digits
        raise _too_long() from None
    return value


def _refuse(constant: str) -> NoReturn:
    # Not JSON, though Python takes it, and JSON5, too; it could not be written again.
    raise ProtocolError(f"it has {constant.lstrip('-')}, which JSON cannot hold")


def _unique(pairs: Iterable[tuple[str, object]]) -> dict[str, object]:
    values: dict[str, object] = {}
    for key, value in pairs:
        if key in values:
            what = f"'{key}'" if key.isidentifier() else "a key"
            raise ProtocolError(f"it has {what} twice: leave one in it")
        values[key] = value
    return values


def _load5(text: str, error: json.JSONDecodeError, hint: str) -> object:
    """Read JSON5; where it is none either, say what is wrong with the JSON."""
    stray = STRAY_BACKSLASH.search(text)
    if stray:
        before = text[: stray.start(1)]
        line = before.count("\n") + 1
        raise _broken(line, stray.start(1) - before.rfind("\n"), BACKSLASHES)
    import json5  # slow to import, and few need it

    try:
        return json5.loads(text, object_pairs_hook=_unique)
    except ValueError as refusal:
        place = PLACE.search(str(refusal))
        if hint or place is None:
            line, column = error.lineno, error.colno
        else:
            line, column = int(place[1]), int(place[2])
        if not hint and any(quote in text for quote in CURLY_QUOTES):
            hint = 'the quotes in it must be straight ones: "'
        if not hint and PYTHON.search(_around(text, line, column, 5)):
            hint = "True, False and None are Python's: write true, false and null"
        if not hint and "#" in _around(text, line, column, 0):
            hint = "a comment begins with //, and not with #"
        if "digits" in str(refusal):
            raise _too_long() from None
        raise _broken(line, column, hint or NOT_JSON) from None


def _around(text: str, line: int, column: int, more: int) -> str:
    """Return the character at a place, the one before it, and some more of both."""
    row = text.split("\n")[line - 1]
    return row[max(0, column - 2 - more) : column + more]


def _broken(line: int, column: int, hint: str) -> ProtocolError:
    return ProtocolError(f"it is broken at line {line}, column {column}: {hint}")


def _too_long() -> ProtocolError:
    return ProtocolError("a number in it is too long")


def _check(value: object) -> None:
    """Check that it can be written again.

    Raises:
        ProtocolError: it nests too deep, or a number is infinite or none.
    """
    layer = [value]
    for _ in range(MAX_DEPTH + 1):
        if any(isinstance(each, float) and not isfinite(each) for each in layer):
            raise ProtocolError("a number in it is too large for JSON, or is none")
        layer = [
            child
            for each in layer
            if isinstance(each, dict | list)
            for child in (each.values() if isinstance(each, dict) else each)
        ]
    if layer:
        raise ProtocolError(f"its brackets and braces nest deeper than {MAX_DEPTH}")


def strings(value: object) -> list[str]:
    """Return every text that stands in a value, in order; keys are left out."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, list):
        return []
    return [text for each in value for text in strings(each)]
