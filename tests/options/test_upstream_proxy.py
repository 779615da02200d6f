"""The user's own proxy on the way to the server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pt_bridge.options import upstream_proxy
from pt_bridge.options.option_values import Given
from pt_bridge.protocol.address import Address
from tests.options.test_option_values import refusal

if TYPE_CHECKING:
    from pt_bridge.options.option_values import Values

BAD_SCHEME = "upstream-proxy= must begin with one of: socks5://, socks4a://, http://"
HALF_USERINFO = "upstream-proxy= needs user:password@ whole, or not at all"
BAD_PROXY = "upstream-proxy= holds a bad host or port: "
NO_PORT = f"{BAD_PROXY}it must be HOST:PORT, an IPv6 address in brackets"
BAD_URLS = {
    BAD_SCHEME: [
        *("", "bogus", "s3cret:1", "socks://h:1", "https://h:1"),
        *("://h:1", " http://h:1", "socks5:/h:1", "s3cret://u:s3cret@h:1"),
    ],
    HALF_USERINFO: [
        *("socks5://s3cret@h:1", "socks5://:s3cret@h:1", "socks5://s3cret:@h:1"),
        *("socks5://@h:1", "socks5://:@h:1", "socks5://s3cret:é@h:1", "http://@"),
        "socks5://s3cret:a\udcff@h:1",
    ],
    NO_PORT: ["http://", "http://h", "http:///", "http://:1", "http://u:s3cret@"],
    f"{BAD_PROXY}it must be a port from 1 to 65535": [
        *("http://h:", "http://h:0", "http://h:70000", "http://h:1/s3cret"),
        "http://h:1//",
    ],
    f"{BAD_PROXY}an IPv6 address must stand in brackets: [::1]:443": [
        "http://::1:1",
    ],
    f"{BAD_PROXY}it must be HOST:PORT, with no '...://' before it": [
        "http://http://h:1"
    ],
    f"{BAD_PROXY}it must be a valid host name or IP address": ["http://s3 cret:1"],
}


@pytest.mark.parametrize(
    ("url", "address", "userinfo", "with_ip"),
    [
        # pt-spec 3.2.2
        (
            "socks5://tor:test1234@198.51.100.1:8000",
            Address("198.51.100.1", 8000),
            "tor:test1234",
            "socks5://tor:test1234@192.0.2.9:8000",
        ),
        (
            "socks4a://198.51.100.2:8001",
            Address("198.51.100.2", 8001),
            "",
            "socks4a://192.0.2.9:8001",
        ),
        (
            "http://198.51.100.3:443",
            Address("198.51.100.3", 443),
            "",
            "http://192.0.2.9:443",
        ),
        (
            "SOCKS5H://WORK\\user:p%20w@198.51.100.4:1080",
            Address("198.51.100.4", 1080),
            "WORK\\user:p%20w",
            "socks5://WORK%5Cuser:p%20w@192.0.2.9:1080",
        ),
        ("http://[::1]:3128/", Address("::1", 3128), "", "http://192.0.2.9:3128"),
        (
            "socks5://u:p@ss:w/rd@Proxy.Example:1",
            Address("proxy.example", 1),
            "u:p@ss:w/rd",
            "socks5://u:p%40ss:w%2Frd@192.0.2.9:1",
        ),
    ],
)
def test_a_proxy_is_a_url_that_pts_take(
    url: str, address: Address, userinfo: str, with_ip: str
) -> None:
    """PE-07: its name is resolved by us, and a PT is given an IP address."""
    proxy = upstream_proxy.proxy(Given({"upstream-proxy": url}))
    assert proxy is not None
    assert (proxy.address, proxy.userinfo) == (address, userinfo)
    assert proxy.url("192.0.2.9") == with_ip


def test_a_kind_of_proxy_that_pts_do_not_take_is_refused() -> None:
    """PE-07, SE-05: most that take SOCKS4 take SOCKS4a, which PTs do speak."""
    values: Values = {"upstream-proxy": "socks4://user:s3cret@192.0.2.1:1080"}
    assert refusal(lambda: upstream_proxy.proxy(Given(values))) == (
        "upstream-proxy=socks4:// is a kind of proxy that PTs do not speak: if yours "
        "takes names, too, write socks4a://"
    )


def test_a_proxys_ipv6_address_stands_in_brackets() -> None:
    """PE-07."""
    proxy = upstream_proxy.proxy(Given({"upstream-proxy": "http://localhost:3128"}))
    assert proxy is not None
    assert proxy.url("2001:db8::1") == "http://[2001:db8::1]:3128"


def test_a_proxys_login_is_secret_as_it_stood_there_and_as_it_is_meant() -> None:
    """SE-05: PTs say it decoded."""
    url = "socks5://us%65r:p%40ss@192.0.2.1:1080"
    proxy = upstream_proxy.proxy(Given({"upstream-proxy": url}))
    assert proxy is not None
    assert set(proxy.credentials) == {"us%65r", "p%40ss", "user", "p@ss"}
    proxy = upstream_proxy.proxy(Given({"upstream-proxy": "http://a\\b:c/d@h:1"}))
    assert proxy is not None
    assert set(proxy.credentials) == {"a\\b", "c/d", "a%5Cb", "c%2Fd"}


def test_without_a_proxy_there_is_none() -> None:
    """PE-07: TOR_PT_PROXY is then left out."""
    assert upstream_proxy.proxy(Given({})) is None


@pytest.mark.parametrize(
    ("url", "message"),
    [(url, message) for message, urls in BAD_URLS.items() for url in urls],
)
def test_any_other_url_is_refused_and_not_shown(url: str, message: str) -> None:
    """PE-07, ER-03, SE-05: some PTs end without a word for such a one."""
    values: Values = {"upstream-proxy": url}
    assert refusal(lambda: upstream_proxy.proxy(Given(values))) == message
    assert "s3cret" not in message


def test_a_proxy_shown_by_a_debugger_shows_no_password() -> None:
    """SE-05."""
    proxy = upstream_proxy.proxy(Given({"upstream-proxy": "http://u:s3cret@h:1"}))
    assert "s3cret" not in repr(proxy)
