"""The files by which tor tells countries: ``geoip`` and ``geoip6``.

::

    # IPv4: the first address and the last one, as numbers; ISO 3166's two letters
    16777216,16777471,AU
    # IPv6
    2001:200::,2001:200:ffff:ffff:ffff:ffff:ffff:ffff,JP

The lines are in order, and there are 660,000 of them: reading all would take seconds
and some 200 MiB. So the text is kept as it is, and searched by halving. ``??`` is a
country that is not known.
"""

from __future__ import annotations

from ipaddress import IPv6Address
from typing import TYPE_CHECKING, NamedTuple

from pt_bridge.errors import ProtocolError
from pt_bridge.formats.ip_ranges import unmapped

if TYPE_CHECKING:
    from collections.abc import Iterable
    from ipaddress import IPv4Address

MAX_LINE = 200  # bytes
MAX_IPV4 = 2**32 - 1
MAX_IPV4_DIGITS = 10
LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789?")
COUNTRY_LETTERS = 2
UNKNOWN = "??"


class Countries:
    """Says which country an IP address is in. Immutable."""

    def __init__(self, files: Iterable[bytes]) -> None:
        """Create one.

        Args:
            files: what stands in the files, each of one family. Where two are of the
                same, the later one holds.

        Raises:
            ProtocolError: one is no such file.
        """
        self._texts: dict[int, bytes] = {}
        for data in files:
            text = _without_comments(data)
            self._texts[_line_at(text, 0).version] = text

    def of(self, ip: IPv4Address | IPv6Address) -> str:
        """Return a country's two letters, or `UNKNOWN`."""
        ip = unmapped(ip)
        try:
            return _find(self._texts.get(ip.version, b""), int(ip))
        except ProtocolError:  # a line that is broken: what it said is not known
            return UNKNOWN


class _Line(NamedTuple):
    """A range, and where the line behind its own begins."""

    version: int
    first: int
    last: int
    country: str
    end: int


def _find(text: bytes, address: int) -> str:
    """Return the country of an address: the last range that begins before it."""
    low, high = 0, len(text)  # offsets of lines: it is not before low, nor from high on
    found = UNKNOWN
    while low < high:
        middle = text.rfind(b"\n", low, (low + high) // 2) + 1 or low
        line = _line_at(text, middle)
        if address < line.first:
            high = middle
        else:
            found = line.country if address <= line.last else UNKNOWN
            low = line.end
    return found


def _without_comments(data: bytes) -> bytes:
    """Return the text from its first range on."""
    start = 0
    while data.startswith((b"#", b"\n", b"\r"), start):
        start = data.find(b"\n", start) + 1 or len(data)
    return data[start:].rstrip()


def _line_at(text: bytes, start: int) -> _Line:
    """Read the line that begins there.

    Raises:
        ProtocolError: it is not of that form.
    """
    end = text.find(b"\n", start)
    end = len(text) if end < 0 else end
    line = text[start : min(end, start + MAX_LINE)].decode("ascii", "replace").strip()
    try:
        first, last, country = line.split(",")
        if len(country) == COUNTRY_LETTERS and LETTERS.issuperset(country):
            version = 6 if ":" in first else 4
            number = _ipv6 if version == 6 else _ipv4
            return _Line(version, number(first), number(last), country, end + 1)
    except ValueError:
        pass
    raise ProtocolError(
        "it is not of the form of tor's geoip files, lines of FIRST,LAST,COUNTRY"
    )


def _ipv6(text: str) -> int:
    return int(IPv6Address(text))


def _ipv4(text: str) -> int:
    """Return the number of an address; ValueError where it is none."""
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_IPV4_DIGITS):
        raise ValueError
    if (value := int(text)) > MAX_IPV4:
        raise ValueError
    return value
