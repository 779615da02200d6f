"""tor's files of countries: every range is found, and what is broken is not known."""

from __future__ import annotations

import itertools
import random
from ipaddress import ip_address

import pytest

from pt_bridge.errors import ProtocolError
from pt_bridge.formats.geoip import UNKNOWN, Countries

GEOIP = b"""\
# Comments.
#

16777216,16777471,AU
16777472,16778239,CN
16778240,16779263,AU
4278190080,4294967295,??
"""
GEOIP6 = b"# x\r\n2001:200::,2001:200:ffff:ffff:ffff:ffff:ffff:ffff,JP\r\n"
GEOIP6 += b"2001:db8::,2001:db8::ffff,XX\r\n"


@pytest.mark.parametrize(
    ("address", "country"),
    [
        ("0.0.0.0", UNKNOWN),
        ("1.0.0.0", "AU"),
        ("1.0.0.255", "AU"),
        ("1.0.1.0", "CN"),
        ("1.0.3.255", "CN"),
        ("1.0.4.0", "AU"),
        ("1.0.8.0", UNKNOWN),
        ("255.0.0.1", UNKNOWN),
        ("::ffff:1.0.1.7", "CN"),
        ("2001:200::", "JP"),
        ("2001:200:ffff::", "JP"),
        ("2001:201::", UNKNOWN),
        ("2001:db8::ffff", "XX"),
        ("::1", UNKNOWN),
        ("ff::", UNKNOWN),
    ],
)
def test_an_address_is_in_the_country_of_its_range(address: str, country: str) -> None:
    """Both families, each from its own file."""
    assert Countries([GEOIP, GEOIP6]).of(ip_address(address)) == country


def test_a_family_without_a_file_is_not_known() -> None:
    assert Countries([GEOIP]).of(ip_address("2001:200::")) == UNKNOWN
    assert Countries([]).of(ip_address("1.0.0.0")) == UNKNOWN


def test_every_range_of_a_long_file_is_found() -> None:
    """Lines of many lengths, with gaps between."""
    rng = random.Random(1)  # noqa: S311
    ends = sorted(rng.sample(range(2**32), 4000))
    ranges = [
        (first, last, rng.choice(["DE", "FR", "US"]))
        for first, last in zip(ends[::2], ends[1::2], strict=True)
    ]
    text = "\n".join(f"{first},{last},{country}" for first, last, country in ranges)
    countries = Countries([text.encode()])
    for first, last, country in ranges:
        assert countries.of(ip_address(first)) == country
        assert countries.of(ip_address(last)) == country
    for (_, last, _), (first, _, _) in itertools.pairwise(ranges):
        if last + 1 < first:
            assert countries.of(ip_address(last + 1)) == UNKNOWN


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"# only\n# comments",
        b"1,2\n",
        b"1,2,DE,FR\n",
        b"1,2,DEU\n",
        b"1,2,de\n",
        b"4294967296,4294967297,DE\n",
        b"-1,2,DE\n",
        b"1.2.3.4,1.2.3.5,DE\n",
        b"1::,x,DE\n",
        b"\xff\xfe",
        b"1" * 500 + b",2,DE",
        b"<html>",
    ],
)
def test_what_is_no_such_file_is_refused(data: bytes) -> None:
    """At the start, and not at the first client."""
    with pytest.raises(ProtocolError, match="geoip files, lines of FIRST,LAST,COUNTRY"):
        Countries([data])


def test_a_line_that_is_broken_tells_nothing() -> None:
    """Numbers are no reason to end."""
    countries = Countries([b"1,2,DE\nx\n9,9,FR\n"])
    assert countries.of(ip_address("0.0.0.2")) == UNKNOWN
