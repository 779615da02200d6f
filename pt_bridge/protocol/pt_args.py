r"""A transport's arguments in the three spellings of the PT specification.

* Client, pt-spec 3.5: ``k=v;k=v`` with ``\`` before ``\ = ;``, carried as the user name
  and password of SOCKS5.
* Server, pt-spec 3.2.3: ``name:k=v;name:k=v`` in TOR_PT_SERVER_TRANSPORT_OPTIONS, with
  ``\`` before ``\ : ;`` and, in a key, before ``=``.
* Server's answer, pt-spec 3.3.3: ``ARGS:k=v,k=v``, where ``\x`` is ``x``.
"""

from __future__ import annotations

from pt_bridge.errors import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    Arguments = Sequence[tuple[str, str]]

# What SOCKS5 user name and password can hold together (RFC 1929: 255 bytes each).
MAX_FIELD = 255
MAX_ARGUMENTS = 2 * MAX_FIELD

FIRST_PRINTABLE, LAST_PRINTABLE = " ", "~"

# pt-spec 3.1
METHOD_CHARACTERS = frozenset(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"
)

# What errors call them.
ARGUMENTS_OF_CLIENT, ARGS_OF_SERVER = "the arguments", "the PT's ARGS"
# What a backslash must precede, and nothing else: PTs refuse any other escape.
CLIENT_SPECIAL, SERVER_SPECIAL, SERVER_KEY_SPECIAL = "\\=;", "\\:;", "\\:;="


def is_printable(text: str) -> bool:
    """Return whether text is printable ASCII, all that a PT's arguments may hold."""
    return all(FIRST_PRINTABLE <= character <= LAST_PRINTABLE for character in text)


def is_method_name(text: str) -> bool:
    """Return whether a transport may be called that: a C identifier (pt-spec 3.1)."""
    return text != "" and not text[0].isdigit() and METHOD_CHARACTERS.issuperset(text)


def _escape(text: str, special: str) -> str:
    return "".join(f"\\{c}" if c in special else c for c in text)


def encode_client(arguments: Arguments) -> bytes:
    """Write arguments for a SOCKS handshake, order and duplicates kept (pt-spec 3.5).

    Raises:
        ProtocolError: an argument is not printable ASCII, or all are longer than
            510 bytes together.
    """
    text = ";".join(
        f"{_escape(key, CLIENT_SPECIAL)}={_escape(value, CLIENT_SPECIAL)}"
        for key, value in arguments
    )
    if not is_printable(text):
        raise ProtocolError("an argument is not printable ASCII")
    if len(text) > MAX_ARGUMENTS:
        raise ProtocolError(
            f"the transport's arguments are {len(text)} bytes long, and no more than "
            f"{MAX_ARGUMENTS} can be passed on"
        )
    return text.encode("ascii")


def decode_client(encoded: bytes) -> list[tuple[str, str]]:
    r"""Read arguments of a SOCKS handshake (pt-spec 3.5), as strictly as PTs do.

    Raises:
        ProtocolError: a pair without ``=`` or without a key, a backslash before
            anything but ``\ = ;``, or what is not printable ASCII.
    """
    # A byte that is not ASCII becomes a character that is not printable.
    text = encoded.decode("latin-1")
    if not is_printable(text):
        raise ProtocolError("an argument is not printable ASCII")
    pairs: list[tuple[str, str]] = []
    for item in _split(text, ";", ARGUMENTS_OF_CLIENT) if text else ():
        key, *rest = _split(item, "=", ARGUMENTS_OF_CLIENT)
        if not key or not rest:
            raise ProtocolError("the arguments hold a pair that is not key=value")
        value = "=".join(rest)
        for part in (key, value):
            _check_escapes(part)
        pairs.append((_unescape(key), _unescape(value)))
    return pairs


def _check_escapes(text: str) -> None:
    """Check that each backslash precedes what needs one."""
    characters = iter(text)
    for character in characters:
        if character == "\\" and next(characters) not in CLIENT_SPECIAL:
            raise ProtocolError("a backslash in the arguments precedes what needs none")


def credentials(encoded: bytes) -> tuple[bytes, bytes] | None:
    """Split encoded arguments into SOCKS5 user name and password (pt-spec 3.5).

    Returns:
        (user name, password), each of 1 to 255 bytes, or None without arguments:
        then no authentication must be offered.
    """
    if not encoded:
        return None
    # One NUL stands for "no more"; the split takes no notice of backslashes.
    return encoded[:MAX_FIELD], encoded[MAX_FIELD:] or b"\0"


def encode_server(transport: str, arguments: Arguments) -> str:
    """Write arguments as TOR_PT_SERVER_TRANSPORT_OPTIONS (pt-spec 3.2.3)."""
    return ";".join(
        f"{transport}:{_escape(key, SERVER_KEY_SPECIAL)}"
        f"={_escape(value, SERVER_SPECIAL)}"
        for key, value in arguments
    )


def decode_server(text: str) -> list[tuple[str, str]]:
    """Read the list behind ``ARGS:`` of an SMETHOD line (pt-spec 3.3.3).

    Raises:
        ProtocolError: a pair without ``=`` or without a key, a lone backslash, or what
            no client could send.
    """
    pairs: list[tuple[str, str]] = []
    for item in _split(text, ",", ARGS_OF_SERVER) if text else ():
        key, *rest = _split(item, "=", ARGS_OF_SERVER)
        if not key or not rest:
            raise ProtocolError("the PT's ARGS hold a pair that is not key=value")
        pairs.append((_unescape(key), _unescape("=".join(rest))))
    if not is_printable(text):
        raise ProtocolError("the PT's ARGS are not printable ASCII")
    return pairs


def _split(text: str, separator: str, what: str) -> list[str]:
    """Split at each separator that no backslash precedes; keep the backslashes."""
    parts, start, position = [], 0, 0
    while position < len(text):
        if text[position] == "\\":
            position += 1
        elif text[position] == separator:
            parts.append(text[start:position])
            start = position + 1
        position += 1
    if position > len(text):
        raise ProtocolError(f"{what} end with a lone backslash")
    return [*parts, text[start:]]


def _unescape(text: str) -> str:
    characters = iter(text)
    return "".join(next(characters) if c == "\\" else c for c in characters)
