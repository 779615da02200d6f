"""Ranges of IP addresses: what a list of networks holds, and what is wrong in one."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import hypothesis.strategies as st
import pytest
from hypothesis import given

from pt_bridge.errors import ProtocolError
from pt_bridge.formats import ip_ranges
from pt_bridge.formats.ip_ranges import IpRanges, Range, parse_networks, unmapped

LIST = """\
# who is kept out
192.0.2.0/24
198.51.100.7\t# one
  2001:db8::/32 \r

::ffff:203.0.113.0/120
::ffff:203.0.113.255
"""


@pytest.mark.parametrize(
    ("address", "is_in"),
    [
        ("192.0.1.255", False),
        ("192.0.2.0", True),
        ("192.0.2.255", True),
        ("192.0.3.0", False),
        ("198.51.100.6", False),
        ("198.51.100.7", True),
        ("198.51.100.8", False),
        ("2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", False),
        ("2001:db8::", True),
        ("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", True),
        ("2001:db9::", False),
        ("::ffff:192.0.2.9", True),
        ("203.0.113.5", True),
        ("203.0.114.0", False),
        ("0.0.0.0", False),
        ("::", False),
    ],
)
def test_a_list_holds_its_networks_and_nothing_else(address: str, is_in: bool) -> None:  # noqa: FBT001
    """From the first address to the last; IPv4 within IPv6 is IPv4."""
    assert (parse_networks(LIST).find(ip_address(address)) is not None) == is_in


def test_networks_that_overlap_are_one() -> None:
    """Whichever way one is in the other."""
    ranges = parse_networks("10.0.0.0/8\n10.1.0.0/16\n10.1.0.0/16\n10.255.0.0/16\n")
    assert len(ranges) == 1
    assert ranges.find(ip_address("10.200.0.1")) is not None
    both = IpRanges([Range(b"\0\0\0\1", b"\0\0\0\5"), Range(b"\0\0\0\3", b"\0\0\0\7")])
    assert len(both) == 1
    assert both.find(ip_address("0.0.0.7")) is not None


def test_what_is_said_of_ranges_is_found() -> None:
    """Where two say different things, the one that begins later holds."""
    ranges = IpRanges(
        [Range(b"\0\0\0\3", b"\0\0\0\4", b"b"), Range(b"\0\0\0\1", b"\0\0\0\5", b"a")]
    )
    assert [ranges.find(ip_address(n)) for n in (0, 1, 3, 4, 6)] == (
        [None, b"a", b"b", b"b", None]
    )


@given(st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 32)), max_size=20))
def test_an_address_is_found_where_a_plain_search_finds_it(
    pairs: list[tuple[int, int]],
) -> None:
    """Against Python's own networks, one after the other."""
    networks = [ip_network(pair, strict=False) for pair in pairs]
    ranges = parse_networks("\n".join(map(str, networks)))
    for network in networks:
        for number in (int(network[0]) - 1, int(network[-1]), int(network[-1]) + 1):
            if 0 <= number < 2**32:
                ip = ip_address(number)
                is_in = any(ip in each for each in networks)
                assert (ranges.find(ip) is not None) == is_in


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("192.0.2.1/24", "bits behind its prefix: with /24 the last 8 of its 32 bits"),
        ("192.0.2.0/33", "is no IP address and no network"),
        ("192.0.2.0/", "is no IP address and no network"),
        ("192.0.2.0/-1", "is no IP address and no network"),
        ("192.0.2.0/0255", "is no IP address and no network"),
        ("192.0.2.0/\u0661", "is no IP address and no network"),
        ("192.0.2", "is no IP address and no network"),
        ("\x1b[2J", "'?[2J' is no IP address"),
        ("example.org", "no network, which is ADDRESS/BITS"),
        ("1.1.1.1, 2.2.2.2", "is no IP address"),
        ("x" * 300, "more than 200 characters"),
    ],
)
def test_a_wrong_line_is_named_with_its_number(line: str, text: str) -> None:
    """And what is wrong with it, in words."""
    with pytest.raises(ProtocolError) as caught:
        parse_networks(f"# x\n192.0.2.0/24\n{line}\n")
    assert str(caught.value).startswith("line 3: ")
    assert text in str(caught.value)


def test_a_list_without_end_is_refused() -> None:
    """Memory is bounded."""
    with pytest.raises(ProtocolError, match="more than 1000000 lines"):
        parse_networks("\n" * ip_ranges.MAX_LINES)


def test_an_ipv6_address_may_stand_for_an_ipv4_address() -> None:
    """RFC 4291 2.5.5.2."""
    assert unmapped(ip_address("::ffff:1.2.3.4")) == ip_address("1.2.3.4")
    assert unmapped(ip_address("::1.2.3.4")) == ip_address("::1.2.3.4")
    assert unmapped(ip_address("1.2.3.4")) == ip_address("1.2.3.4")
