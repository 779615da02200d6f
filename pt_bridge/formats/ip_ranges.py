"""Ranges of IP addresses, and the files that list them: one network a line.

::

    # Who is kept out.
    192.0.2.0/24
    198.51.100.7        one address is a network, too
    2001:db8::/32

Lists of whole countries have a hundred thousand lines, so a range is found by halving,
in a few bytes of memory each. An IPv4 address that is written as one of IPv6
(``::ffff:192.0.2.1``) is the IPv4 address, in the list and out of it.
"""

from __future__ import annotations

from bisect import bisect_right
from ipaddress import IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING, NamedTuple

from pt_bridge.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from ipaddress import IPv4Address

    IP = IPv4Address | IPv6Address

MAPPED_BITS = 96  # of ::ffff:0:0/96 (RFC 4291 2.5.5.2)
WIDTHS = {4: 4, 6: 16}  # bytes of an address
MAX_LINES = 1_000_000
MAX_LINE = 200  # characters
MAX_PREFIX_DIGITS = 3


class Range(NamedTuple):
    """Some addresses that stand side by side.

    Attributes:
        first: the first one, as on the wire: 4 bytes or 16.
        last: the last one, of the same family.
        value: what is said of them, of a width that is the same for all.
    """

    first: bytes
    last: bytes
    value: bytes = b""


class IpRanges:
    """Finds the range that an address is in. Immutable."""

    def __init__(self, ranges: Iterable[Range]) -> None:
        """Create one.

        Args:
            ranges: in any order; where two overlap that say the same, they are one;
                else the one that begins later says it.
        """
        families: dict[int, list[Range]] = {width: [] for width in WIDTHS.values()}
        for each in ranges:
            families[len(each.first)].append(each)
        self._tables = {
            width: _Table(width, _merged(found)) for width, found in families.items()
        }

    def __len__(self) -> int:
        return sum(map(len, self._tables.values()))

    def find(self, ip: IP) -> bytes | None:
        """Return what is said of an address; None where it is in no range."""
        packed = unmapped(ip).packed
        return self._tables[len(packed)].find(packed)


class _Table:
    """Ranges of one family, in order, in three strings of bytes."""

    __slots__ = ("_first", "_last", "_number", "_value", "_value_width", "_width")

    def __init__(self, width: int, ranges: Sequence[Range]) -> None:
        self._width = width
        self._number = len(ranges)
        self._first = b"".join(each.first for each in ranges)
        self._last = b"".join(each.last for each in ranges)
        self._value = b"".join(each.value for each in ranges)
        self._value_width = len(ranges[0].value) if ranges else 0

    def __len__(self) -> int:
        return self._number

    def find(self, packed: bytes) -> bytes | None:
        """Return what is said of an address of this family, or None."""
        found = bisect_right(range(self._number), packed, key=self._first_of) - 1
        place = found * self._width
        if found < 0 or packed > self._last[place : place + self._width]:
            return None
        place = found * self._value_width
        return self._value[place : place + self._value_width]

    def _first_of(self, number: int) -> bytes:
        return self._first[number * self._width : (number + 1) * self._width]


def _merged(ranges: list[Range]) -> list[Range]:
    """Sort ranges; those that overlap and say the same become one."""
    merged: list[Range] = []
    for each in sorted(ranges):
        before = merged[-1] if merged else None
        if before is None or each.first > before.last or each.value != before.value:
            merged.append(each)
        elif each.last > before.last:
            merged[-1] = before._replace(last=each.last)
    return merged


def unmapped(ip: IP) -> IP:
    """Return the IPv4 address that an IPv6 address stands for, or the address."""
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
        return ip.ipv4_mapped
    return ip


def parse_networks(text: str) -> IpRanges:
    """Read a list of networks, one a line, with comments behind ``#``.

    Raises:
        ProtocolError: a line is none; it says which, and what is wrong with it.
    """
    lines = text.split("\n")
    if len(lines) > MAX_LINES:
        raise ProtocolError(f"it has more than {MAX_LINES} lines")
    ranges = []
    for number, line in enumerate(lines, 1):
        try:
            if found := _network(line):
                ranges.append(found)
        except ProtocolError as error:
            raise ProtocolError(f"line {number}: {error}") from None
    return IpRanges(ranges)


def _network(line: str) -> Range | None:
    """Read a line; None where nothing stands in it but a comment."""
    text = line.partition("#")[0].strip(" \t\r\ufeff")
    if not text:
        return None
    if len(text) > MAX_LINE:
        raise ProtocolError(f"it has more than {MAX_LINE} characters")
    host, slash, prefix = text.partition("/")
    try:
        ip = ip_address(host)
        width = ip.max_prefixlen
        # Not `ip_network`, which takes five times as long.
        bits = _number(prefix) if slash else width
        behind = (1 << (width - bits)) - 1  # ValueError where the prefix is too long
        first = int(ip)
    except ValueError:
        raise ProtocolError(_complaint(text)) from None
    if first & behind:
        raise ProtocolError(_complaint(text))
    last = (first | behind).to_bytes(width // 8)
    if ip.version == 6 and bits >= MAPPED_BITS and unmapped(ip) is not ip:
        return Range(unmapped(ip).packed, last[-WIDTHS[4] :])
    return Range(ip.packed, last)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_PREFIX_DIGITS):
        raise ValueError
    return int(text)


def _complaint(text: str) -> str:
    """Return what is wrong with what should be a network."""
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        return (
            f"'{_printable(text)}' is no IP address and no network, which is "
            f"ADDRESS/BITS"
        )
    # No address: it would be taken out of the log, and the sentence with it.
    zeros = network.max_prefixlen - network.prefixlen
    return (
        f"its address has bits behind its prefix: with /{network.prefixlen} the last "
        f"{zeros} of its {network.max_prefixlen} bits must be 0"
    )


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)
