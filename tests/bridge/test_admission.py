"""Who may use a server, decided without a socket."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from pt_bridge.bridge.admission import DENIED, NOT_ALLOWED, TOO_MANY, Admission
from pt_bridge.formats.ip_ranges import parse_networks

HERE, THERE = ip_address("192.0.2.1"), ip_address("198.51.100.1")
LIST = parse_networks("192.0.2.0/24\n2001:db8::/32")


def test_everybody_may_where_nothing_is_said() -> None:
    admission = Admission()
    for ip in (HERE, ip_address("::1"), None):
        assert admission.refuse_because(ip) is None


@pytest.mark.parametrize("mapped", ["192.0.2.1", "::ffff:192.0.2.1", "2001:db8::7"])
def test_who_is_on_the_deny_list_may_not(mapped: str) -> None:
    """However its address is written."""
    admission = Admission(deny=LIST)
    assert admission.refuse_because(ip_address(mapped)) == DENIED
    assert admission.refuse_because(THERE) is None
    assert admission.refuse_because(None) is None


def test_only_who_is_on_the_allow_list_may() -> None:
    """And nobody of whom it is not known where he comes from."""
    admission = Admission(allow=LIST)
    assert admission.refuse_because(HERE) is None
    assert admission.refuse_because(THERE) == NOT_ALLOWED
    assert admission.refuse_because(None) == NOT_ALLOWED


def test_the_deny_list_takes_from_the_allow_list() -> None:
    admission = Admission(allow=LIST, deny=parse_networks("192.0.2.1"))
    assert admission.refuse_because(HERE) == DENIED
    assert admission.refuse_because(ip_address("192.0.2.2")) is None


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("0.0.0.0", "::", False),
    ],
)
def test_a_source_is_an_ipv4_address_or_an_ipv6_network(
    one: str,
    other: str,
    is_same: bool,  # noqa: FBT001
) -> None:
    """Whoever has an IPv6 address has 2^64 of them."""
    admission = Admission(max_per_source=2)
    for _ in range(2):
        assert admission.refuse_because(ip_address(one)) is None
        admission.enter(ip_address(one))
    cause = TOO_MANY if is_same else None
    assert admission.refuse_because(ip_address(other)) == cause
    admission.leave(ip_address(one))
    assert admission.refuse_because(ip_address(other)) is None


def test_who_has_left_leaves_nothing() -> None:
    """Memory is that of those who are there; asking is not coming."""
    admission = Admission(max_per_source=1)
    for ip in (HERE, THERE, None):
        assert admission.refuse_because(ip) is None
        admission.enter(ip)
    assert len(admission) == 2
    for ip in (HERE, THERE, None):
        admission.leave(ip)
    assert len(admission) == 0
