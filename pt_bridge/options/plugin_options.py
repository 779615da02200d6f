r"""The plugin options (SIP003): what stands in ``SS_PLUGIN_OPTIONS``.

::

    options = [ segment *( ";" segment ) ]
    segment = "" / key / key "=" value
    key     = 1*( any byte but \ = ; / "\" any byte )
    value   =  *( any byte but \ ;   / "\" any byte )

A backslash stands for the byte behind it, whatever that is. Only the first unescaped
``=`` separates: a bare one in the value is data, as base64 wants it. A key without
``=`` is a flag. Empty segments are ignored, as some apps make them.
"""

from __future__ import annotations

from pt_bridge.errors import OptionsError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

BACKSLASH, EQUALS, SEMICOLON = b"\\=;"
# The last one for a blank that counts, and for the end of the text, an error already.
NEED_A_BACKSLASH = (b"\\", b"=", b";", b" ", b"")
FIRST_PRINTABLE, DELETE = 0x20, 0x7F


class Option:
    """One segment of the plugin options.

    Attributes:
        key: the key, unescaped; bytes that are not UTF-8 as surrogates (PEP 383).
        value: the value, likewise, or None for a flag.
        column: where the segment begins, in bytes, counted from 1.
    """

    __slots__ = ("column", "key", "value")

    def __init__(self, key: str, value: str | None, column: int) -> None:
        self.key = key
        self.value = value
        self.column = column

    def __repr__(self) -> str:
        """Leave the value out: it may be a secret."""
        return f"Option({self.key!r}, column={self.column})"


class Via:
    """Another SIP003 plugin, between the PT and the Internet.

    Attributes:
        name: what `via=` calls it.
        options: its own plugin options.
        is_flag: whether the flag --via names it, which may be a path.
    """

    __slots__ = ("is_flag", "name", "options")

    def __init__(self, name: str, options: str, *, is_flag: bool = False) -> None:
        self.name = name
        self.options = options
        self.is_flag = is_flag


def parse(text: bytes) -> list[Option]:
    """Parse plugin options into their segments, in order, duplicates kept (SIP003).

    Raises:
        OptionsError: a lone backslash at the end, an empty key or a control byte; it
            names the column.
    """
    options: list[Option] = []
    key, value = bytearray(), None
    start, position = 0, 0
    while position < len(text):
        byte = text[position]
        if byte == SEMICOLON:
            _append(options, key, value, start)
            key, value, start = bytearray(), None, position + 1
        elif byte == EQUALS and value is None:
            value = bytearray()
        else:
            if byte == BACKSLASH:
                position += 1
                if position == len(text):
                    raise OptionsError(
                        f"the plugin options end with a lone backslash at column "
                        f"{position}: write '\\\\' for a backslash"
                    )
                byte = text[position]
            if byte < FIRST_PRINTABLE or byte == DELETE:
                raise OptionsError(
                    f"the plugin options hold a control character at column "
                    f"{position + 1}: were they copied with a line break?"
                )
            (key if value is None else value).append(byte)
        position += 1
    _append(options, key, value, start)
    return options


def stray_backslash(text: bytes) -> int | None:
    r"""Return the column of the first backslash before a byte that needs none, or None.

    It is left out, which hardly anybody means who writes ``DOMAIN\user``.
    """
    position = text.find(b"\\")
    while position != -1:
        if text[position + 1 : position + 2] not in NEED_A_BACKSLASH:
            return position + 1
        position = text.find(b"\\", position + 2)
    return None


def _append(
    options: list[Option], key: bytearray, value: bytearray | None, start: int
) -> None:
    if key:
        options.append(
            Option(_decode(key), None if value is None else _decode(value), start + 1)
        )
    elif value is not None:
        raise OptionsError(
            f"the plugin options have a '=' with no key before it at column {start + 1}"
        )


def _decode(data: bytearray) -> str:
    return data.decode("utf-8", "surrogateescape")


def escape(text: str) -> str:
    r"""Escape each ``\``, ``=`` and ``;`` with a backslash (SIP003)."""
    return text.replace("\\", "\\\\").replace("=", "\\=").replace(";", "\\;")


def serialize(pairs: Iterable[tuple[str, str | None]]) -> str:
    """Write keys and values (None: a flag) as plugin options; `parse` undoes it."""
    return ";".join(
        escape(key) if value is None else f"{escape(key)}={escape(value)}"
        for key, value in pairs
    )
