"""Hosts, ports and their spellings; and the order in which addresses are tried."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pt_bridge.errors import ProtocolError
from pt_bridge.protocol.address import (
    Address,
    connectable,
    is_loopback,
    is_nowhere,
    is_wildcard,
    parse_endpoint,
    parse_host,
    parse_host_port,
    parse_hosts,
    parse_port,
)

BAD_PORT = "it must be a port from 1 to 65535"
BAD_NAME = "it must be a valid host name"
BAD_HOST = "it must be a valid host name or IP address"
BAD_IPV6 = "it must be a valid IPv6 address where it has ':' or '['"
HALF_IPV4 = "it must be an IPv4 address of four numbers, or a name"
ZONE = (
    "an IPv6 zone ('%...') cannot be passed on to a PT: use an address of global scope"
)
BAD_HOST_PORT = "it must be HOST:PORT, an IPv6 address in brackets"
BARE_IPV6 = "an IPv6 address must stand in brackets: [::1]:443"


# -- ports -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "port"),
    [("1", 1), ("80", 80), ("00080", 80), ("8388", 8388), ("65535", 65535)],
)
def test_a_port_is_one_to_five_digits(text: str, port: int) -> None:
    """FE-02."""
    assert parse_port(text) == port


NO_PORTS = [
    *("", "0", "00000", "65536", "99999", "000080", "-1", "+80", "8_0", " 80 ", "80\n"),
    *("0x50", "8e1", "80.0", "http", "٨٠", "\uff18\uff10", "²", "\udcff", "1" * 5000),
]


@pytest.mark.parametrize("text", NO_PORTS)
def test_anything_else_is_no_port(text: str) -> None:
    """FE-02: much of this is fine with int()."""
    with pytest.raises(ProtocolError) as caught:
        parse_port(text)
    assert str(caught.value) == BAD_PORT


# -- hosts -----------------------------------------------------------------------------

NEARLY_IPV4 = st.lists(
    st.one_of(st.integers(0, 300).map(str), st.text("0123456789", max_size=4)),
    min_size=3,
    max_size=5,
).map(".".join)


@given(NEARLY_IPV4)
def test_an_ipv4_address_is_what_the_standard_library_takes_for_one(text: str) -> None:
    """FE-03: it is recognised without that library, which is slow to import."""
    try:
        expected = str(ipaddress.IPv4Address(text))
    except ValueError:
        with pytest.raises(ProtocolError):
            parse_host(text)
    else:
        assert parse_host(text) == expected


LONGEST_NAME = ".".join(["a" * 49] * 5) + ".bcd"  # 253 bytes


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "0.0.0.0"),
        ("::1", "::1"),
        ("[::1]", "::1"),
        ("::", "::"),
        ("2001:DB8:0:0:0:0:0:1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        # Pythons write it in two ways.
        ("::ffff:192.0.2.1", str(ipaddress.IPv6Address("::ffff:192.0.2.1"))),
        ("localhost", "localhost"),
        ("Example.COM", "example.com"),
        ("example.com.", "example.com."),
        ("a_b.example", "a_b.example"),
        ("3com.example", "3com.example"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("XN--bcher-kva.example", "xn--bcher-kva.example"),
        ("a" * 63 + ".example", "a" * 63 + ".example"),
        (LONGEST_NAME, LONGEST_NAME),
    ],
)
def test_a_host_is_an_ip_address_or_a_name(text: str, host: str) -> None:
    """FE-03: IPv6 with brackets and without; names as the DNS has them."""
    assert parse_host(text) == host


ALONE = "it must be a host alone:"
NO_HOSTS = {
    BAD_HOST: [
        *("", ".", "a..b", ".a", "a b", " a", "*", "a\0b", "a\n", "user@host"),
        *("[", "]", "a" * 64 + ".example", f"{LONGEST_NAME}e"),
    ],
    BAD_NAME: ["é..b", "é" * 70, "\udcff", "é\udcff", "\uff0e"],
    HALF_IPV4: [
        *("127.1", "1", "2130706433", "0x7f.1", "127.0.0.0x1", "127.0.0.256"),
        *("01.2.3.4", "127.0.0.1.", "1.2.3.4.5", "\uff11.\uff12"),
    ],
    BAD_IPV6: [
        *("1::2::3", "::g", "[::1", "::1]", "[]", "[a]", "[[::1]]"),
        *("[127.0.0.1]", "::1:g", "1:2:80"),
    ],
    f"{ALONE} leave out the ':' and the port behind it": [
        *("127.0.0.1:80", "[::1]:80", "a.example:8388", "a:0"),
    ],
    f"{ALONE} leave out the '/' behind it": ["a/b", "192.0.2.1/", "192.0.2.1/24"],
    f"{ALONE} leave out 'http://' before it": ["http://a", "http://192.0.2.1:80/x"],
    f"{ALONE} leave out the scheme before it": ["a b://a"],
    ZONE: ["fe80::1%lo", "[::1%lo]", "%", "fe80::1%25eth0"],
}


@pytest.mark.parametrize(
    ("text", "message"),
    [(text, message) for message, texts in NO_HOSTS.items() for text in texts],
)
def test_anything_else_is_no_host(text: str, message: str) -> None:
    """FE-03, PE-09: what a PT would refuse is refused before it starts."""
    with pytest.raises(ProtocolError) as caught:
        parse_host(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("127.0.0.1", ["127.0.0.1"]),
        (
            "127.0.0.1|127.0.0.2|localhost",
            ["127.0.0.1", "127.0.0.2", "localhost"],
        ),
        ("::1|127.0.0.1", ["::1", "127.0.0.1"]),
        ("0.0.0.0|::", ["0.0.0.0", "::"]),
        ("[::1]|[::1]", ["::1", "::1"]),
    ],
)
def test_several_hosts_are_joined_with_a_bar(text: str, hosts: list[str]) -> None:
    """FE-03: as shadowsocks-libev has it; order and duplicates kept."""
    assert parse_hosts(text) == hosts


@pytest.mark.parametrize("text", ["", "|", "a|", "|a", "a||b", "a|127.1", "a | b"])
def test_each_of_several_hosts_must_be_one(text: str) -> None:
    """FE-03."""
    with pytest.raises(ProtocolError):
        parse_hosts(text)


# -- host and port ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:80", Address("127.0.0.1", 80)),
        ("[2001:db8::1]:443", Address("2001:db8::1", 443)),
        ("Example.com:8388", Address("example.com", 8388)),
    ],
)
def test_a_host_and_a_port_are_joined_with_a_colon(text: str, address: Address) -> None:
    """PE-09: IPv6 in brackets."""
    assert parse_host_port(text) == address


NO_HOST_PORTS = {
    BAD_HOST_PORT: ["", ":", "80", "localhost", ":80"],
    BARE_IPV6: ["::1:80", "1:2:3", "::1"],
    "it must be HOST:PORT, with no '...://' before it": ["http://h:80", "http://h"],
    "it must be HOST:PORT, with one port": ["192.0.2.1:80:80"],
    BAD_PORT: ["h:", "h:0", "h:x", "h:70000", "[::1]:"],
    BAD_IPV6: ["[::1]", "[::1]x:80", "[127.0.0.1]:80"],
    HALF_IPV4: ["127.1:80"],
    BAD_HOST: ["a b:80"],
}


@pytest.mark.parametrize(
    ("text", "message"),
    [(text, message) for message, texts in NO_HOST_PORTS.items() for text in texts],
)
def test_anything_else_is_no_host_and_port(text: str, message: str) -> None:
    """FE-02, FE-03."""
    with pytest.raises(ProtocolError) as caught:
        parse_host_port(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:19999", Address("127.0.0.1", 19999)),
        ("[::1]:1080", Address("::1", 1080)),
        ("[2001:db8::1]:443", Address("2001:db8::1", 443)),
    ],
)
def test_an_endpoint_is_an_ip_address_and_a_port(text: str, address: Address) -> None:
    """PO-05."""
    assert parse_endpoint(text) == address


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("localhost:1080", "it must be an IP address and a port"),
        ("127.0.0.1:0", BAD_PORT),
        ("127.0.0.1", BAD_HOST_PORT),
        ("::1:1080", BARE_IPV6),
    ],
)
def test_a_name_or_port_zero_is_no_endpoint(text: str, message: str) -> None:
    """PO-05: for tor too, such a PT is broken."""
    with pytest.raises(ProtocolError) as caught:
        parse_endpoint(text)
    assert str(caught.value) == message


# -- addresses -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (Address("127.0.0.1", 80), "127.0.0.1:80"),
        (Address("::1", 80), "[::1]:80"),
        (Address("example.com", 0), "example.com:0"),
    ],
)
def test_an_address_is_written_with_ipv6_in_brackets(
    address: Address, text: str
) -> None:
    """PE-09, PE-10: as a PT wants it."""
    assert str(address) == text
    assert repr(address) == f"Address({address.host!r}, {address.port})"


@pytest.mark.parametrize(
    ("host", "version"), [("192.0.2.1", 4), ("2001:db8::1", 6), ("example.com", None)]
)
def test_an_address_knows_which_kind_of_host_it_has(
    host: str, version: int | None
) -> None:
    """FE-04, SK-08: the socket's family and SOCKS's type come from the literal."""
    ip = Address(host, 1).ip
    assert (ip.version if ip else None) == version


def test_addresses_are_equal_by_host_and_port() -> None:
    """FE-17: so that they can be looked for among others."""
    address = Address("::1", 80)
    assert address == Address("::1", 80)
    assert hash(address) == hash(Address("::1", 80))
    assert address != Address("::1", 81)
    assert address != Address("::2", 80)
    assert address != "[::1]:80"


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.255.0.1", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.0.2.1", False),
        ("::2", False),
        ("localhost", False),
    ],
)
def test_loopback_is_what_only_this_machine_can_reach(
    host: str, *, expected: bool
) -> None:
    """PO-06: a name proves nothing."""
    assert is_loopback(Address(host, 80)) is expected


@pytest.mark.parametrize(
    ("host", "expected"),
    [("0.0.0.0", True), ("::", True), ("::1", False), ("127.0.0.1", False), ("*", 0)],
)
def test_a_wildcard_stands_for_every_address(host: str, *, expected: bool) -> None:
    """SV-02."""
    assert is_wildcard(host) == expected


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("0.0.0.0", "127.0.0.1"),
        ("::", "::1"),
        ("192.0.2.1", "192.0.2.1"),
        ("a.example", "a.example"),
    ],
)
def test_a_wildcard_is_connected_to_on_loopback(host: str, expected: str) -> None:
    """SV-09: it is an address to listen on."""
    assert connectable(Address(host, 1)) == Address(expected, 1)


@pytest.mark.parametrize(
    "network",
    [
        *("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"),
        *("2001:db8::/32", "0.0.0.0/8"),
    ],
)
def test_nobody_is_at_an_address_that_documents_something(network: str) -> None:
    """RFC 5737, RFC 3849, RFC 1122: what bridge lines name where nobody is dialled."""
    net = ipaddress.ip_network(network)
    for address in (net[0], net[3], net[-1]):
        assert is_nowhere(parse_host(str(address)))
    for address in (net[0] - 1, net[-1] + 1) if net[0] != net[0].__class__(0) else ():
        assert not is_nowhere(parse_host(str(address)))


@pytest.mark.parametrize(
    "host", ["1.0.2.1", "127.0.0.1", "::1", "::", "2001:db80::1", "192.0.20.1"]
)
def test_somebody_may_be_at_any_other_address(host: str) -> None:
    assert not is_nowhere(host)


@pytest.mark.parametrize("name", ["0.example", "192.0.2.example", "0.0.0.a", "a.b"])
def test_a_name_is_no_such_address(name: str) -> None:
    assert not is_nowhere(name)
