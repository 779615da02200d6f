r"""HAProxy's PROXY protocol: who the client is, ahead of a connection's first byte.

Version 2, which we write and read; all numbers big-endian::

    \r\n\r\n\0\r\nQUIT\n     the signature, 12 bytes
    0x20, or 0x21            LOCAL: a connection of the proxy's own; PROXY: a client's
    family                   0x11 TCP over IPv4, 0x21 over IPv6, 0x00 not told, ...
    length                   of what follows, 2 bytes
    addresses and ports      source, destination; source port, destination port
    type-length-values       which we pass over

Version 1, which we only read, since some balancers know no other::

    PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n
    PROXY UNKNOWN ...\r\n

Section numbers are those of proxy-protocol.txt in HAProxy's documentation.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from struct import Struct
from typing import NamedTuple

from pt_bridge.errors import ProtocolError
from pt_bridge.protocol.address import MAX_PORT, Address, parse_endpoint, parse_port

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
HEAD = Struct("!12sBBH")
VERSION = 0x20
LOCAL, PROXY = 0, 1
NOT_TOLD, TCP4, TCP6 = 0x00, 0x11, 0x21
LAST_FAMILY, LAST_TRANSPORT = 3, 2
ADDRESSES = {TCP4: Struct("!4s4sHH"), TCP6: Struct("!16s16sHH")}
# Bytes behind the head. Addresses take 216 at most, the type-length-values of those
# balancers that send any some hundred.
MAX_LENGTH = 4096

FIRST_WORD, LINE_END = b"PROXY ", b"\r\n"
SHORTEST_LINE = len(b"PROXY UNKNOWN\r\n")
MAX_LINE = 107  # bytes, its end included (2.1)
FAMILIES = {"TCP4": 4, "TCP6": 6}
WORDS_OF_A_LINE = 6

UNREADABLE = "what the proxy said of its client"


class Header(NamedTuple):
    """What a proxy says of a connection that it brings.

    Attributes:
        source: where its client comes from; None where that is not told, as for
            connections of the proxy's own, which look whether we are there.
        destination: where its client went to, or None.
    """

    source: Address | None
    destination: Address | None


def serialize(source: Address | None, destination: Address) -> bytes:
    """Write a header of version 2 (2.2).

    Args:
        source: an IP address, and a port that may be 0; None where it is not known.
        destination: where the client went to; a wildcard of the source's family is
            written in its place where the family is another one.
    """
    if source is None or source.ip is None:
        return HEAD.pack(SIGNATURE, VERSION | LOCAL, NOT_TOLD, 0)
    to = destination.ip
    if to is None or to.version != source.ip.version:
        to = IPv4Address(0) if source.ip.version == 4 else IPv6Address(0)
    family = TCP4 if source.ip.version == 4 else TCP6
    ports = (source.port, destination.port)
    addresses = ADDRESSES[family].pack(source.ip.packed, to.packed, *ports)
    head = HEAD.pack(SIGNATURE, VERSION | PROXY, family, len(addresses))
    return head + addresses


def parse(data: bytes) -> Header | int:
    """Read a header of either version from a connection's first bytes.

    Args:
        data: all that has come, never more than this has asked for.

    Returns:
        The header; or how many bytes to read next, at most, where it is not whole.

    Raises:
        ProtocolError: nothing that begins so is a header.
    """
    if FIRST_WORD.startswith(data[: len(FIRST_WORD)]) and data:
        return _parse_line(data)
    if not SIGNATURE.startswith(data[: len(SIGNATURE)]):
        raise ProtocolError("a connection begins without the header of a proxy")
    if len(data) < HEAD.size:
        # Not more at first: a line is shorter than a head of version 2 can be.
        return (HEAD.size if data else SHORTEST_LINE) - len(data)
    version: int
    family: int
    length: int
    _, version, family, length = HEAD.unpack_from(data)
    if version not in (VERSION | LOCAL, VERSION | PROXY):
        raise ProtocolError("a proxy's header is of a version that is not 1 or 2")
    if family >> 4 > LAST_FAMILY or family & 0x0F > LAST_TRANSPORT:
        raise ProtocolError("a proxy's header names no family of addresses (2.2)")
    if length > MAX_LENGTH:
        raise ProtocolError(f"a proxy's header has more than {MAX_LENGTH} bytes")
    layout = ADDRESSES.get(family)
    if version == VERSION | LOCAL:
        layout = None  # 2.2: what stands there means nothing
    if layout is not None and length < layout.size:
        raise ProtocolError("a proxy's header is too short for its addresses")
    if len(data) < HEAD.size + length:
        return HEAD.size + length - len(data)
    if layout is None:
        return Header(None, None)
    source, to, source_port, port = layout.unpack_from(data, HEAD.size)
    kind = IPv4Address if family == TCP4 else IPv6Address
    return Header(Address(str(kind(source)), source_port), Address(str(kind(to)), port))


def _parse_line(data: bytes) -> Header | int:
    """Read a header of version 1 (2.1)."""
    line, end, _ = data.partition(LINE_END)
    if not end:
        if len(data) >= MAX_LINE:
            raise ProtocolError(f"a proxy's line has more than {MAX_LINE} bytes")
        # Never beyond its end: what comes behind it is the PT's.
        return max(SHORTEST_LINE - len(data), 1 if data.endswith(b"\r") else 2)
    words = line.decode("ascii", "backslashreplace").split(" ")
    if words[1:2] == ["UNKNOWN"]:
        return Header(None, None)
    if len(words) != WORDS_OF_A_LINE or words[1] not in FAMILIES:
        raise ProtocolError(f"{UNREADABLE} is no line of the PROXY protocol")
    _, family, source, to, source_port, port = words
    return Header(
        _endpoint(source, source_port, FAMILIES[family]),
        _endpoint(to, port, FAMILIES[family]),
    )


def _endpoint(host: str, port: str, version: int) -> Address:
    try:
        number = 0 if port == "0" else parse_port(port)
        bracketed = f"[{host}]" if version == 6 else host
        address = parse_endpoint(f"{bracketed}:{MAX_PORT}")
    except ProtocolError:
        address = Address("", 0)
        number = 0
    if address.ip is None or address.ip.version != version:
        # What it was is not repeated: it may be a client's address.
        raise ProtocolError(f"{UNREADABLE} is no IP address and port")
    return Address(address.host, number)
