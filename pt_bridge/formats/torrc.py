"""The owner's configuration file, in torrc's syntax: what plugin options may ask for.

::

    # Programs, each for some transports and one role, with arguments of their own.
    ClientTransportPlugin obfs4,webtunnel exec /opt/lyrebird -enableLogging
    ServerTransportPlugin obfs4 exec /opt/lyrebird
    # Another plugin that via= may name, with arguments of its own.
    SIP003Plugin my-plugin exec /opt/my-plugin -fast
    # What links could not ask for otherwise, one a line.
    AllowPluginOption state
    # Another file; where it is tor's own, only lines like those above mean something.
    %include /opt/tor-browser/Browser/TorBrowser/Data/Tor/torrc-defaults

Lines are cut as tor cuts them (its manual, "THE CONFIGURATION FILE FORMAT"): keywords
in any case; comments; a backslash at a line's very end; a value that is quoted whole,
with C's escapes. What stands behind the keyword is cut at its blanks, and quotes among
it mean nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pt_bridge.errors import OwnerFileError

if TYPE_CHECKING:
    from collections.abc import Iterator

# What the owner may let plugin options do that they otherwise may not.
OWNERS_OPTIONS = ("state", "logfile", "loglevel", "unsafe-logging")
SIP003_PLUGIN = "sip003plugin"
PLUGINS = {"clienttransportplugin": False, "servertransportplugin": True}
ALLOW, INCLUDE = "allowpluginoption", "%include"
FORM = "NAME[,NAME] exec PATH ARGUMENTS"
SIP003_FORM = "SIP003Plugin NAME exec PATH ARGUMENTS"

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
BLANKS = b" \t\n\v\f\r"
ESCAPES = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b'"': b'"', b"'": b"'", b"\\": b"\\"}
HEXADECIMAL = frozenset(b"0123456789abcdefABCDEF")
OCTAL = frozenset(b"01234567")
MAX_OCTAL_DIGITS = 3
MAX_BYTE = 0xFF
FIRST_PRINTABLE, DELETE = 0x20, 0x7F
NAME_CHARACTERS = frozenset(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"
)


class Plugin(NamedTuple):
    """A program that the owner names.

    Attributes:
        where: its file and line.
        server: the role that it is for.
        transports: those that it is for.
        path: the executable, as it stands there.
        arguments: what it gets on its command line.
    """

    where: str
    server: bool
    transports: tuple[str, ...]
    path: str
    arguments: tuple[str, ...]


class Sip003Plugin(NamedTuple):
    """Another plugin that the owner names, which may carry the PT's connections.

    Attributes:
        where: its file and line.
        name: what `via=` calls it.
        path: the executable, as it stands there.
        arguments: what it gets on its command line.
    """

    where: str
    name: str
    path: str
    arguments: tuple[str, ...]


class Permission(NamedTuple):
    """An option, of `OWNERS_OPTIONS`, that the owner lets plugin options set."""

    option: str


class Include(NamedTuple):
    """Another file.

    Attributes:
        where: the file and line that name it.
        path: its path, as it stands there.
    """

    where: str
    path: str


Entry = Plugin | Sip003Plugin | Permission | Include


def parse(data: bytes, name: str, *, included: bool = False) -> list[Entry]:
    """Read such a file.

    Args:
        data: its content.
        name: what it is called in an error.
        included: it is not our own file: what is tor's is passed over, and so is what
            it includes.

    Raises:
        OwnerFileError: a line cannot be understood; it names the line.
    """
    entries: list[Entry] = []
    for number, keyword, value in _lines(data, name):
        where = f"{name}, line {number}"
        # '+' appends to a defaults file's lines, and there is none.
        key = keyword.lower().decode("ascii", "replace").removeprefix("+")
        if key == INCLUDE and not included:
            entries.append(Include(where, _text(value, where)))
        elif key == ALLOW:
            entries.append(_permission(value, where))
        elif key == SIP003_PLUGIN:
            entries.append(_sip003_plugin(value.split(), where, included=included))
        elif key in PLUGINS:
            words = value.split()
            # tor, too, connects to a proxy that runs already; we run our own.
            if not included or words[1:2] == [b"exec"]:
                entries.append(_plugin(key, words, where, included=included))
        elif not included:
            raise OwnerFileError(
                f"{where} is none of ClientTransportPlugin, ServerTransportPlugin, "
                f"SIP003Plugin, AllowPluginOption and %include"
            )
    return entries


def parse_pt_config(data: bytes, name: str) -> list[Entry]:
    """Read the pt_config.json of Tor's expert bundle: its PTs lie beside it.

    Raises:
        OwnerFileError: it is none, or a line in it cannot be understood.
    """
    import json  # nobody else needs it

    try:
        plugins = json.loads(data)["pluggableTransports"]
        lines = [(str(key), value.encode()) for key, value in plugins.items()]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise OwnerFileError(
            f"{name} is no pt_config.json: it has no 'pluggableTransports'"
        ) from None
    entries: list[Entry] = []
    for key, line in lines:
        there = line.replace(b"${pt_path}", b"./").replace(b"${pt_extension}", b"")
        entries += parse(there, f"'{key}' in {name}", included=True)
    return entries


def _permission(value: bytes, where: str) -> Permission:
    option = _text(value, where)
    if option not in OWNERS_OPTIONS:
        raise OwnerFileError(
            f"{where}: AllowPluginOption needs one of {', '.join(OWNERS_OPTIONS)}"
        )
    return Permission(option)


def _plugin(key: str, words: list[bytes], where: str, *, included: bool) -> Plugin:
    texts = [_text(word, where) for word in words]
    match texts:
        case [transports, "exec", path, *arguments]:
            names = transports.split(",")
        case _:
            raise OwnerFileError(f"{where} must be KEYWORD {FORM}")
    _check_path(path, where, included=included)
    for name in names:
        if not (name and NAME_CHARACTERS.issuperset(name)):
            raise OwnerFileError(
                f"{where}: a transport's name is made of letters, digits and '_', and "
                f"names are joined with ',' alone"
            )
    return Plugin(where, PLUGINS[key], tuple(names), path, tuple(arguments))


def _sip003_plugin(words: list[bytes], where: str, *, included: bool) -> Sip003Plugin:
    match [_text(word, where) for word in words]:
        case [name, "exec", path, *arguments]:
            _check_path(path, where, included=included)
            return Sip003Plugin(where, name, path, tuple(arguments))
    raise OwnerFileError(f"{where} must be {SIP003_FORM}")


def _check_path(path: str, where: str, *, included: bool) -> None:
    if not (included or path.startswith("/")):
        raise OwnerFileError(f"{where}: the program's path must begin with '/'")


def _text(value: bytes, where: str) -> str:
    """Decode a value as the system does with paths (PEP 383)."""
    if not value:
        raise OwnerFileError(f"{where} has a keyword and no value")
    if any(byte < FIRST_PRINTABLE or byte == DELETE for byte in value):
        raise OwnerFileError(f"{where} holds a control character")
    return value.decode("utf-8", "surrogateescape")


def _lines(data: bytes, name: str) -> Iterator[tuple[int, bytes, bytes]]:
    """Cut a file into keywords and values, each with its line's number."""
    data = data.removeprefix(BYTE_ORDER_MARK).replace(b"\r\n", b"\n")
    rows = enumerate(data.split(b"\n"), 1)
    for number, row in rows:
        line = row.lstrip(BLANKS)
        if not line or line.startswith(b"#"):
            continue
        keyword, rest = _cut_keyword(line)
        if rest.startswith(b'"'):
            yield number, keyword, _unquote(rest, f"{name}, line {number}")
        else:
            yield number, keyword, _join(rest, rows)


def _cut_keyword(line: bytes) -> tuple[bytes, bytes]:
    end = next((i for i, byte in enumerate(line) if byte in BLANKS + b"#"), len(line))
    if end == len(line) and line.endswith(b"\\"):
        end -= 1
    return line[:end], line[end:].lstrip(b" \t")


def _join(row: bytes, rows: Iterator[tuple[int, bytes]]) -> bytes:
    """Join a value with the lines that continue it.

    A comment ends it; but once it is continued, a comment is left out, and the line
    behind that belongs to it, too.
    """
    head, comment, _ = row.partition(b"#")
    if comment:
        return head.rstrip(BLANKS)
    pieces = []
    while row.endswith(b"\\") or b"#" in row:
        head, comment, _ = row.partition(b"#")
        pieces.append(head if comment else row[:-1])
        _, row = next(rows, (0, b""))
    return b"".join([*pieces, row]).rstrip(BLANKS)


def _unquote(row: bytes, where: str) -> bytes:
    """Read a value in quotes, which ends on its line."""
    value, index = bytearray(), 1
    while index < len(row):
        byte = row[index : index + 1]
        if byte == b'"':
            rest = row[index + 1 :].strip(BLANKS)
            if rest and not rest.startswith(b"#"):
                raise OwnerFileError(f"{where} goes on behind its closing quote")
            return bytes(value)
        if byte == b"\\":
            byte, index = _unescape(row, index + 1, where)
        else:
            index += 1
        value += byte
    raise OwnerFileError(f"{where} has no closing quote")


def _unescape(row: bytes, index: int, where: str) -> tuple[bytes, int]:
    """Read what stands behind a backslash; return it, and the index behind it."""
    letter = row[index : index + 1]
    if letter in ESCAPES:
        return ESCAPES[letter], index + 1
    if letter == b"x":
        digits, base, index = row[index + 1 : index + 3], 16, index + 1
        is_number = len(digits) == 2 and HEXADECIMAL.issuperset(digits)
    else:
        digits, base = row[index : index + MAX_OCTAL_DIGITS], 8
        while digits and not OCTAL.issuperset(digits):
            digits = digits[:-1]
        is_number = bool(digits) and int(digits, base) <= MAX_BYTE
    if not is_number:
        raise OwnerFileError(
            f"{where} has a backslash in its quotes that means nothing: write \\\\"
        )
    return bytes([int(digits, base)]), index + len(digits)
