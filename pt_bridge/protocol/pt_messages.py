r"""What a PT says on its standard output (pt-spec 3.3): lines in, messages out.

::

    line  = keyword [ 1*( SP / TAB ) rest ] [ CR ] LF
    pairs = *ws [ pair *( 1*ws pair ) ] *ws            for LOG and STATUS (3.3.4, 3.3.5)
    pair  = key "=" ( cstring / *( not ws ) )
    cstring = DQUOTE *( not \ " LF / "\" ( n r t ' " \ / x 2HEX / 1*3OCT ) ) DQUOTE

A keyword is all in capitals; whatever is not one that we know is `Unknown` and does
no harm.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pt_bridge.errors import ProtocolError

# goptlib's longest lines are LOG lines of a few KiB; ptadapter and tor stop far below.
MAX_LINE = 64 * 1024


@dataclass(frozen=True, slots=True)
class Version:
    """``VERSION 1``: the PT speaks this version (3.3.1)."""

    version: str


@dataclass(frozen=True, slots=True)
class VersionError:
    """``VERSION-ERROR no-version``: the PT speaks none that we offered (3.3.1)."""

    text: str


@dataclass(frozen=True, slots=True)
class EnvError:
    """``ENV-ERROR text``: the PT cannot use its environment (3.3.1)."""

    text: str


@dataclass(frozen=True, slots=True)
class ProxyDone:
    """``PROXY DONE``: the PT will use TOR_PT_PROXY (3.3.2)."""


@dataclass(frozen=True, slots=True)
class ProxyError:
    """``PROXY-ERROR text``: the PT cannot use TOR_PT_PROXY (3.3.2)."""

    text: str


@dataclass(frozen=True, slots=True)
class Cmethod:
    """``CMETHOD name socks5 127.0.0.1:1080``: a client transport listens (3.3.2)."""

    transport: str
    protocol: str
    address: str


@dataclass(frozen=True, slots=True)
class CmethodError:
    """``CMETHOD-ERROR name text``: a client transport failed (3.3.2)."""

    transport: str
    text: str


@dataclass(frozen=True, slots=True)
class CmethodsDone:
    """``CMETHODS DONE``: that were all the client transports (3.3.2)."""


@dataclass(frozen=True, slots=True)
class Smethod:
    """``SMETHOD name 1.2.3.4:443 ARGS:k=v``: a server transport listens (3.3.3).

    Attributes:
        transport: its name.
        address: what the PT prints; some invent it, so it must not be relied on.
        args: the list behind ``ARGS:``, still escaped; "" without one.
    """

    transport: str
    address: str
    args: str


@dataclass(frozen=True, slots=True)
class SmethodError:
    """``SMETHOD-ERROR name text``: a server transport failed (3.3.3)."""

    transport: str
    text: str


@dataclass(frozen=True, slots=True)
class SmethodsDone:
    """``SMETHODS DONE``: that were all the server transports (3.3.3)."""


@dataclass(frozen=True, slots=True)
class Log:
    """``LOG SEVERITY=warning MESSAGE="text"`` (3.3.4)."""

    severity: str
    message: str


@dataclass(frozen=True, slots=True)
class Status:
    """``STATUS TYPE=version IMPLEMENTATION="lyrebird"``, TRANSPORT or not (3.3.5)."""

    pairs: dict[str, str]


@dataclass(frozen=True, slots=True)
class Unknown:
    """Any other line, or a LOG or STATUS line that does not parse."""

    line: str


Message = (
    Version
    | VersionError
    | EnvError
    | ProxyDone
    | ProxyError
    | Cmethod
    | CmethodError
    | CmethodsDone
    | Smethod
    | SmethodError
    | SmethodsDone
    | Log
    | Status
    | Unknown
)

BLANKS = re.compile(r"[ \t]+")
SEVERITIES = frozenset({"error", "warning", "notice", "info", "debug"})
DEFAULT_SEVERITY = "notice"


def parse(line: bytes) -> Message:
    """Read one line, without its LF (pt-spec 3.3).

    Raises:
        ProtocolError: a keyword that we know, without the words it must have.
    """
    text = line.removesuffix(b"\r").decode("utf-8", "backslashreplace")
    keyword, *more = BLANKS.split(text, maxsplit=1)
    rest = more[0] if more else ""
    match keyword:
        case "VERSION":
            return Version(_words(keyword, rest, 1)[0])
        case "VERSION-ERROR":
            return VersionError(rest)
        case "ENV-ERROR":
            return EnvError(rest)
        case "PROXY" if _is_done(rest):
            return ProxyDone()
        case "PROXY-ERROR":
            return ProxyError(rest)
        case "CMETHOD":
            return Cmethod(*_words(keyword, rest, 3)[:3])
        case "CMETHOD-ERROR":
            return CmethodError(*_name_and_text(keyword, rest))
        case "CMETHODS" if _is_done(rest):
            return CmethodsDone()
        case "SMETHOD":
            return _smethod(rest)
        case "SMETHOD-ERROR":
            return SmethodError(*_name_and_text(keyword, rest))
        case "SMETHODS" if _is_done(rest):
            return SmethodsDone()
        case "LOG":
            return _log(rest) or Unknown(text)
        case "STATUS":
            pairs = parse_pairs(rest)
            return Unknown(text) if pairs is None else Status(pairs)
    return Unknown(text)


def _is_done(rest: str) -> bool:
    return rest.startswith("DONE")


def _words(keyword: str, rest: str, number: int) -> list[str]:
    words = BLANKS.split(rest.strip(" \t"))
    if len(words) < number or not words[0]:
        raise ProtocolError(f"a line '{keyword}' with fewer than {number} words")
    return words


def _name_and_text(keyword: str, rest: str) -> tuple[str, str]:
    name, *text = BLANKS.split(rest, maxsplit=1)
    if not name:
        raise ProtocolError(f"a line '{keyword}' without a transport")
    return name, text[0] if text else ""


def _smethod(rest: str) -> Smethod:
    # pt-spec 3.3.3: ARGS may hold blanks, so it goes on to the end of the line.
    transport, address, *more = _words("SMETHOD", rest, 2)
    args = ""
    if any(word.startswith("ARGS:") for word in more):
        args = re.split(r"[ \t]ARGS:", rest, maxsplit=1)[1]
    return Smethod(transport, address, args)


def _log(rest: str) -> Log | None:
    pairs = parse_pairs(rest)
    if pairs is None or not {"SEVERITY", "MESSAGE"} <= pairs.keys():
        return None
    severity = pairs["SEVERITY"]
    if severity not in SEVERITIES:
        severity = DEFAULT_SEVERITY
    return Log(severity, pairs["MESSAGE"])


WHITE = " \t\r\v\n"
PAIR = re.compile(
    r"""
    [ \t\r\v\n]*
    (?P<key> [^ \t\r\v\n="] [^ \t\r\v\n=]* ) =
    (?: "(?P<quoted> (?: [^\\"\n] | \\. )* )" | (?P<raw> (?!") [^ \t\r\v\n]* ) )
    (?= [ \t\r\v\n] | $ )
    """,
    re.VERBOSE,
)
ESCAPE = re.compile(r"\\(?:([nrt'\"\\])|[xX]([0-9a-fA-F]{2})|([0-7]{1,3})|(.?))")
SIMPLE_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "'": "'", '"': '"', "\\": "\\"}
MAX_BYTE = 0o377


def parse_pairs(text: str) -> dict[str, str] | None:
    """Read ``K=V`` pairs of a LOG or STATUS line (pt-spec 3.3.4, 3.3.5).

    Returns:
        The pairs, the first of equal keys; None where the text is not of that form.
    """
    pairs: dict[str, str] = {}
    position, end = 0, len(text.rstrip(WHITE))
    while position < end:
        match = PAIR.match(text, position, end)
        if match is None:
            return None
        value = match["raw"]
        if value is None:
            value = _unquote(match["quoted"])
            if value is None:
                return None
        pairs.setdefault(match["key"], value)
        position = match.end()
    return pairs


def _unquote(text: str) -> str | None:
    """Undo the escapes of a quoted string; None where one is not allowed."""
    data = bytearray()
    position = 0
    for match in ESCAPE.finditer(text):
        data += text[position : match.start()].encode("utf-8")
        position = match.end()
        simple, hexadecimal, octal, _ = match.groups()
        if simple:
            data += SIMPLE_ESCAPES[simple].encode("ascii")
            continue
        code = int(hexadecimal, 16) if hexadecimal else int(octal or "0", 8)
        if not 1 <= code <= MAX_BYTE:
            return None
        data.append(code)
    data += text[position:].encode("utf-8")
    return data.decode("utf-8", "backslashreplace")


class LineBuffer:
    """Cuts a stream of bytes into lines, none longer than 64 KiB.

    A longer line is dropped up to its LF; `dropped` counts them.
    """

    def __init__(self) -> None:
        self._rest = bytearray()
        self._dropping = False
        self.dropped = 0

    def receive_data(self, data: bytes) -> list[bytes]:
        """Take the next bytes; return back the lines that they complete, without LF."""
        *ends, rest = data.split(b"\n")
        lines = []
        for end in ends:
            self._take(end)
            if not self._dropping:
                lines.append(bytes(self._rest))
            self._rest.clear()
            self._dropping = False
        self._take(rest)
        return lines

    def _take(self, data: bytes) -> None:
        if self._dropping:
            return
        if len(self._rest) + len(data) > MAX_LINE:
            self._dropping = True
            self.dropped += 1
            self._rest.clear()
        else:
            self._rest += data
