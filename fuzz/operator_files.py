"""The ways into what operators and their balancers say: lists, countries, headers."""

from __future__ import annotations

from ipaddress import ip_address

from pt_bridge.formats.geoip import Countries
from pt_bridge.formats.ip_ranges import parse_networks
from pt_bridge.plans import tunnels_file
from pt_bridge.protocol.proxy_protocol import MAX_LENGTH, Header, parse, serialize

SOME_ADDRESSES = [
    ip_address(text)
    for text in ("0.0.0.0", "192.0.2.1", "255.255.255.255", "::", "2001:db8::1", "ff::")
]


def _read_header(data: bytes, *, at_once: int) -> tuple[Header | int, int]:
    """Read a header in pieces; return it, or what is missing, and what was taken."""
    taken = 0
    while isinstance(found := parse(data[:taken]), int):
        assert 0 < found <= MAX_LENGTH, "it asks for too much, or for nothing"
        if taken >= len(data):
            return found, taken
        taken = min(len(data), taken + min(found, at_once))
    return found, taken


def read_proxy_header(data: bytes) -> None:
    """Read a proxy's header: the same in whatever pieces it comes."""
    found = _read_header(data, at_once=len(data) + 1)
    for at_once in (1, 3):
        again = _read_header(data, at_once=at_once)
        is_whole = isinstance(found[0], Header)
        assert isinstance(again[0], Header) == is_whole, "pieces make a difference"
        assert not is_whole or again == found, "pieces make a difference"
    header, _ = found
    if isinstance(header, Header) and header.source and header.destination:
        written = serialize(header.source, header.destination)
        assert _read_header(written, at_once=len(written))[0] == header


def read_networks(data: bytes) -> None:
    """Read a list of networks, and look for addresses in it."""
    ranges = parse_networks(data.decode("utf-8", "replace"))
    for ip in SOME_ADDRESSES:
        assert ranges.find(ip) in (None, b"")


def read_tunnels(data: bytes) -> None:
    """Read a file of tunnels; what is read once is read so again."""
    file = tunnels_file.read(data, "the file")
    assert file == tunnels_file.read(data, "the file")
    assert len({plan.name for plan in file.plans}) == len(file.plans)


def read_countries(data: bytes) -> None:
    """Read a file of tor's, and look for addresses in it."""
    countries = Countries([data])
    for ip in SOME_ADDRESSES:
        assert len(countries.of(ip)) == 2
