"""pt-bridge's own options: which there are, and how each value is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pt_bridge import own_options
from pt_bridge.arguments import client_line
from pt_bridge.errors import OptionsError
from pt_bridge.own_options import (
    BOTH,
    CLIENT,
    HOLDS,
    NONE,
    OPTIONS,
    PLAIN,
    SERVER,
)
from pt_bridge.protocol.address import Address
from pt_bridge.protocol.options import Option
from pt_bridge.transports import TRANSPORTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from pt_bridge.own_options import Values

# OG-06's list of arguments that PTs are known to take.
PT_ARGUMENTS = (
    "cert iat-mode node-id public-key private-key drbg-seed password shared-secret url "
    "front fronts ice max ampcache sqsqueue sqscreds utls utls-nosni utls-imitate "
    "fingerprint proxy addr servername ver version"
)


def nobody(option: str) -> bool:
    """Allow nothing."""
    del option
    return False


def refusal(read: Callable[[], object]) -> str:
    """Give the text of the refusal, which is always one of the options."""
    with pytest.raises(OptionsError) as caught:
        read()
    assert caught.value.exit_code == 65
    return str(caught.value)


# -- the set ---------------------------------------------------------------------------


def test_the_set_of_our_own_options_is_closed() -> None:
    """OG-06: a new one is a change of the contract."""
    assert " ".join(OPTIONS) == (
        "server transport bridge exec state upstream-proxy hold linger idle restarts "
        "start-timeout loglevel logfile unsafe-logging"
    )


def test_no_option_of_ours_has_the_name_of_a_pts_argument() -> None:
    """OG-06, FE-06: nor of one that hosts keep for themselves."""
    assert OPTIONS.keys().isdisjoint(PT_ARGUMENTS.split())
    assert "mode" not in OPTIONS


def test_an_argument_of_the_catalogue_that_has_our_name_needs_the_prefix() -> None:
    """OG-06: conjure's transport= is the only one, and arg-transport= sends it."""
    taken = {
        argument
        for transport in TRANSPORTS.values()
        for side in (transport.client, transport.server)
        if side is not None
        for argument in side.takes
    }
    assert taken & OPTIONS.keys() == {"transport"}


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_is_described(name: str) -> None:
    """What 'pt-bridge help options' prints is made from this."""
    option = OPTIONS[name]
    assert option.name == name
    assert option.side in ("", CLIENT)
    assert option.value == option.value.upper()
    assert 0 < len(option.meaning) <= 72


# -- taking them -----------------------------------------------------------------------


def test_options_are_put_together_whatever_their_order() -> None:
    """OG-11: Android's order is that of a hash map."""
    options = [Option("server", None, 1), Option("transport", "obfs4", 8)]
    for order in (options, options[::-1]):
        values: dict[str, str | None] = {}
        for option in order:
            own_options.add(values, option)
        assert values == {"server": None, "transport": "obfs4"}


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (
            Option("bridge", None, 3),
            "'bridge' at column 3 needs a value: bridge=LINE",
        ),
        (
            Option("hold", "none", 9),
            "'hold' is given twice, again at column 9: leave one out",
        ),
        (
            Option("transport", None, 1),
            "'transport' at column 1 needs a value: transport=NAME",
        ),
        (
            Option("upstream-proxy", "", 5),
            "'upstream-proxy' at column 5 needs a value: upstream-proxy=URL",
        ),
        (
            Option("server", "s3cret", 2),
            "'server' at column 2 takes no value: write it without '='",
        ),
        (
            Option("unsafe-logging", "", 2),
            "'unsafe-logging' at column 2 takes no value: write it without '='",
        ),
    ],
    ids=lambda value: repr(value) if isinstance(value, Option) else "",
)
def test_an_option_that_cannot_be_taken_is_named_with_its_column(
    option: Option, message: str
) -> None:
    """OG-07, ER-03, SE-05: and never its value."""
    values: dict[str, str | None] = {"hold": "plain"}
    assert refusal(lambda: own_options.add(values, option)) == message
    assert values == {"hold": "plain"}


def test_the_same_value_twice_is_given_twice_all_the_same() -> None:
    """OG-07."""
    values: dict[str, str | None] = {}
    own_options.add(values, Option("server", None, 1))
    with pytest.raises(OptionsError):
        own_options.add(values, Option("server", None, 8))


def test_an_option_without_a_meaning_for_the_server_is_refused_there() -> None:
    """ER-03."""
    values: Values = {"upstream-proxy": "1"}
    own_options.check_side(values, CLIENT)
    assert refusal(lambda: own_options.check_side(values, SERVER)) == (
        "'upstream-proxy' has a meaning on the client side only"
    )


def test_all_other_options_have_a_meaning_on_both_sides() -> None:
    """FE-05: the roles are alike in all else."""
    both = {key: "1" for key in OPTIONS if not OPTIONS[key].side}
    own_options.check_side(both, SERVER)
    own_options.check_side(both, CLIENT)
    own_options.check_side({}, SERVER)


# -- reading them ----------------------------------------------------------------------


@pytest.mark.parametrize("level", own_options.LOG_LEVELS)
def test_a_choice_is_one_of_a_few(level: str) -> None:
    values: Values = {"loglevel": level}
    assert own_options.choice(values, "loglevel", own_options.LOG_LEVELS) == level


def test_a_choice_that_was_not_made_is_none() -> None:
    assert own_options.choice({}, "loglevel", own_options.LOG_LEVELS) is None


@pytest.mark.parametrize("level", ["", "INFO", "info ", "warn", "notice", "s3cret"])
def test_any_other_choice_is_refused_with_those_that_there_are(level: str) -> None:
    """ER-03: the allowed values, not the given one."""
    values: Values = {"loglevel": level}
    allowed = own_options.LOG_LEVELS
    assert refusal(lambda: own_options.choice(values, "loglevel", allowed)) == (
        "loglevel= must be one of: error, warning, info, debug"
    )


@pytest.mark.parametrize("role", [CLIENT, SERVER])
@pytest.mark.parametrize(
    ("can_hold_both", "is_usual", "held"),
    [
        (True, True, BOTH),
        (True, False, PLAIN),
        (False, True, PLAIN),
        (False, False, PLAIN),
    ],
)
def test_both_ends_are_held_where_they_can_be_and_that_is_usual(
    role: str, held: str, *, can_hold_both: bool, is_usual: bool
) -> None:
    """Design 3: on both sides alike; what is asked for comes before what is usual."""
    holds = {"can_hold_both": can_hold_both, "is_usual": is_usual}
    assert own_options.hold({}, role, **holds) == held
    assert own_options.hold({"hold": PLAIN}, role, **holds) == PLAIN
    if can_hold_both:
        assert own_options.hold({"hold": BOTH}, role, **holds) == BOTH


@pytest.mark.parametrize("role", [CLIENT, SERVER])
@pytest.mark.parametrize("is_usual", [False, True])
def test_both_ends_of_a_pt_that_cannot_be_held_are_not_held(
    role: str, *, is_usual: bool
) -> None:
    """Design 3, ER-03: it would not do what the user believes."""
    values: Values = {"hold": BOTH}
    assert refusal(
        lambda: own_options.hold(values, role, can_hold_both=False, is_usual=is_usual)
    ) == (
        "hold=both is not possible with this transport: its tunnels are not one "
        "connection each, or cannot be told apart; leave it out, or write hold=plain"
    )


@pytest.mark.parametrize("can_hold_both", [False, True])
def test_a_pt_may_be_left_alone_on_the_server_side_only(*, can_hold_both: bool) -> None:
    """Design 3, ER-03: a client speaks SOCKS to it, which shadowsocks does not."""
    values: Values = {"hold": NONE}
    holds = {"can_hold_both": can_hold_both, "is_usual": True}
    assert own_options.hold(values, SERVER, **holds) == NONE
    assert refusal(lambda: own_options.hold(values, CLIENT, **holds)) == (
        "hold=none is for servers: a client needs pt-bridge on the side of "
        "shadowsocks, so leave it out, or write hold=plain"
    )


@pytest.mark.parametrize("key", ["linger", "idle"])
def test_limits_of_tunnels_have_a_meaning_only_where_we_have_tunnels(key: str) -> None:
    """ER-03."""
    values: Values = {key: "5"}
    for held in HOLDS:
        own_options.check_times({}, held)
    own_options.check_times(values, PLAIN)
    own_options.check_times(values, BOTH)
    assert refusal(lambda: own_options.check_times(values, NONE)) == (
        f"'{key}' has no meaning where the PT connects to shadowsocks by itself: leave "
        f"it out, or add hold=plain"
    )


def test_a_hold_that_there_is_not_is_refused_with_those_that_there_are() -> None:
    """ER-03."""
    values: Values = {"hold": "s3cret"}
    for can_hold_both in (False, True):
        holds = {"can_hold_both": can_hold_both, "is_usual": can_hold_both}
        assert refusal(lambda: own_options.hold(values, CLIENT, **holds)) == (  # noqa: B023
            "hold= must be one of: both, plain, none"
        )


@pytest.mark.parametrize(
    ("values", "number"),
    [({}, 5), ({"restarts": "0"}, 0), ({"restarts": "1000"}, 1000)],
)
def test_restarts_is_a_number(values: dict[str, str | None], number: int) -> None:
    """Design 2: 5 where it is left out."""
    assert own_options.restarts(values) == number


@pytest.mark.parametrize(
    "value", ["-1", "1001", "00005", "5.0", "\u0665", "s3cret", ""]
)
def test_anything_else_is_no_number_of_restarts(value: str) -> None:
    """ER-03."""
    assert refusal(lambda: own_options.restarts({"restarts": value})) == (
        "restarts= must be a number from 0 to 1000"
    )


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("10", 10.0),
        ("0.25", 0.25),
        ("007", 7.0),
        ("86400", 86400.0),
        ("86400.000", 86400.0),
        ("1.2345678", 1.2345678),
    ],
)
def test_seconds_may_have_a_fraction(text: str, seconds: float) -> None:
    assert own_options.seconds({"linger": text}, "linger") == seconds


def test_seconds_that_are_not_given_are_none() -> None:
    """Which is not 0: what is usual may depend on more."""
    assert own_options.seconds({"idle": "1"}, "linger") is None


@pytest.mark.parametrize(
    "text",
    [
        *("", ".", ".5", "1.", "1.5.5", "-1", "+1", " 1", "1 ", "1_0", "1e3", "0x1"),
        *("inf", "nan", "86401", "86400.01", "999999999", "0.12345678", "s3cret"),
        *("٣", "²", "1.²", "1.٣", "\udcff"),
    ],
)
def test_anything_else_is_no_number_of_seconds(text: str) -> None:
    """ER-03, FE-02: much of this is fine with float()."""
    values: Values = {"linger": text}
    assert refusal(lambda: own_options.seconds(values, "linger")) == (
        "linger= must be seconds, from 0 to 86400"
    )


@pytest.mark.parametrize(
    "path", ["obfs4", "a/b", "./a", "..a", "a..", "a.b/..c", ".", "~"]
)
def test_a_path_in_plugin_options_is_below_the_state_directory(path: str) -> None:
    """SE-02."""
    values: Values = {"state": path}
    assert own_options.path(values, "state", nobody) == path


@pytest.mark.parametrize(
    "path", ["/", "/etc", "//a", "..", "../a", "a/..", "a/../../b"]
)
def test_a_path_that_leads_out_of_it_is_refused_in_plugin_options(path: str) -> None:
    """ER-03: a link can carry them; the owner's own word is taken."""
    values: Values = {"logfile": path}
    message = refusal(lambda: own_options.path(values, "logfile", nobody))
    assert message == (
        "logfile= in plugin options must stay below the state directory: a relative "
        "path without '..'; for any other, add the line 'AllowPluginOption logfile' to "
        "/etc/pt-bridge.conf or ~/.config/pt-bridge.conf, or use the flag --logfile of "
        "'pt-bridge client' or 'pt-bridge server'"
    )
    asked: list[str] = []

    def owner(option: str) -> bool:
        asked.append(option)
        return True

    assert own_options.path(values, "logfile", owner) == path
    assert asked == ["logfile"]


@pytest.mark.parametrize("values", [{}, {"state": "obfs4"}])
def test_the_owner_is_not_asked_without_need(values: Values) -> None:
    """His files would have to be read, and a host waits for the port."""

    def owner(option: str) -> bool:
        raise AssertionError(option)

    assert own_options.path(values, "state", owner) == values.get("state")


def test_what_only_the_owner_may_ask_for_is_refused_with_the_reason() -> None:
    """ER-03."""
    error = own_options.owner_only("loglevel", "loglevel=debug")
    assert error.exit_code == 65
    assert str(error) == (
        "loglevel=debug is refused in plugin options, since links can carry them: add "
        "the line 'AllowPluginOption loglevel' to /etc/pt-bridge.conf or "
        "~/.config/pt-bridge.conf, or use the flag --loglevel of 'pt-bridge client' or "
        "'pt-bridge server'"
    )


# -- the transport ---------------------------------------------------------------------


def test_the_transport_is_named() -> None:
    """PE-06."""
    assert own_options.transport({"transport": "obfs4"}) == "obfs4"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "the plugin options do not name the transport: add transport=obfs4"),
        ({"transport": "s3cret-"}, "transport= must be a transport's name: letters"),
    ],
)
def test_a_transport_without_a_name_is_refused(values: Values, message: str) -> None:
    """PE-06, ER-03."""
    text = refusal(lambda: own_options.transport(values))
    assert text.startswith(message)
    assert "s3cret" not in text


def test_a_bridge_line_may_stand_for_the_transport_and_its_arguments() -> None:
    """Design 1."""
    line = own_options.bridge({"bridge": "Bridge obfs4 192.0.2.1:443 cert=a=b"})
    assert line is not None
    assert str(line) == "obfs4 192.0.2.1:443 cert=a=b"
    assert own_options.bridge({"transport": "obfs4"}) is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"bridge": "192.0.2.1:443 s3cret"},
            (
                "bridge= is wrong: it names no transport: a bridge without one is a "
                "plain Tor relay, which is no way to a shadowsocks server"
            ),
        ),
        (
            {"bridge": "obfs4 192.0.2.1:443 cert=s3cret", "transport": "obfs4"},
            "bridge= names the transport, too: leave out transport=, or bridge=",
        ),
    ],
)
def test_a_bridge_line_that_cannot_be_taken_is_refused(
    values: Values, message: str
) -> None:
    """ER-03, SE-05; two that say the same are two all the same (OG-07)."""
    assert refusal(lambda: own_options.bridge(values)) == message


# -- the line for clients --------------------------------------------------------------


@pytest.mark.parametrize(
    ("transport", "arguments", "line"),
    [
        ("obfs3", [], "transport=obfs3"),
        (
            "obfs4",
            [("cert", "ab/+"), ("iat-mode", "0")],
            "transport=obfs4;cert=ab/+;iat-mode=0",
        ),
        (
            "webtunnel",
            [("url", "https://e.com/p?a=b;c"), ("ver", "0.0.7")],
            r"transport=webtunnel;url=https://e.com/p?a\=b\;c;ver=0.0.7",
        ),
        ("t", [("server", "1"), ("a", "")], "transport=t;arg-server=1;a="),
        ("t", [("bridge", "1")], "transport=t;arg-bridge=1"),
        ("t", [("arg-x", "1"), ("a\\b", "2")], r"transport=t;arg-arg-x=1;a\\b=2"),
    ],
)
def test_what_a_server_prints_becomes_the_options_of_its_clients(
    transport: str, arguments: list[tuple[str, str]], line: str
) -> None:
    """SV-06, OG-06, OG-12: an argument with a name of ours gets the prefix."""
    assert client_line(transport, arguments) == line


# -- the user's proxy ------------------------------------------------------------------


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
        ("http://[::1]:3128/", Address("::1", 3128), "", "http://192.0.2.9:3128"),
        (
            "socks5://u:p@ss:w/rd@Proxy.Example:1",
            Address("proxy.example", 1),
            "u:p@ss:w/rd",
            "socks5://u:p@ss:w/rd@192.0.2.9:1",
        ),
    ],
)
def test_a_proxy_is_a_url_that_pts_take(
    url: str, address: Address, userinfo: str, with_ip: str
) -> None:
    """PE-07: its name is resolved by us, and a PT is given an IP address."""
    for held in (PLAIN, BOTH):
        proxy = own_options.proxy({"upstream-proxy": url}, held)
        assert proxy is not None
        assert (proxy.address, proxy.userinfo) == (address, userinfo)
        assert proxy.url("192.0.2.9") == with_ip


def test_a_proxy_that_pts_do_not_take_is_for_us_to_speak_to() -> None:
    """Design 3, PE-07: with hold=both we dial it ourselves, and only then."""
    values: Values = {"upstream-proxy": "socks4://user:s3cret@192.0.2.1:1080"}
    proxy = own_options.proxy(values, BOTH)
    assert proxy is not None
    assert (proxy.scheme, proxy.address) == ("socks4", Address("192.0.2.1", 1080))
    assert refusal(lambda: own_options.proxy(values, PLAIN)) == (
        "upstream-proxy=socks4:// needs hold=both, for PTs cannot speak it: begin it "
        "with one of: socks5://, socks4a://, http://"
    )


def test_a_proxys_ipv6_address_stands_in_brackets() -> None:
    """PE-07."""
    proxy = own_options.proxy({"upstream-proxy": "http://localhost:3128"}, PLAIN)
    assert proxy is not None
    assert proxy.url("2001:db8::1") == "http://[2001:db8::1]:3128"


def test_a_proxys_login_is_secret_as_it_stood_there_and_as_it_is_meant() -> None:
    """SE-05: PTs say it decoded."""
    url = "socks5://us%65r:p%40ss@192.0.2.1:1080"
    proxy = own_options.proxy({"upstream-proxy": url}, own_options.BOTH)
    assert proxy is not None
    assert set(proxy.credentials) == {"us%65r", "p%40ss", "user", "p@ss"}


def test_without_a_proxy_there_is_none() -> None:
    """PE-07: TOR_PT_PROXY is then left out."""
    assert own_options.proxy({}, PLAIN) is None


BAD_SCHEME = (
    "upstream-proxy= must begin with one of: socks5://, socks4a://, http://, socks4://"
)
HALF_USERINFO = "upstream-proxy= needs user:password@ whole, or not at all"
BAD_PROXY = "upstream-proxy= holds a bad host or port: "
NO_PORT = f"{BAD_PROXY}it must be HOST:PORT, an IPv6 address in brackets"
BAD_URLS = {
    BAD_SCHEME: [
        *("", "bogus", "s3cret:1", "socks://h:1", "https://h:1", "SOCKS5://h:1"),
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
        "http://http://h:1",
    ],
    f"{BAD_PROXY}it must be a valid host name or IP address": ["http://s3 cret:1"],
}


@pytest.mark.parametrize(
    ("url", "message"),
    [(url, message) for message, urls in BAD_URLS.items() for url in urls],
)
def test_any_other_url_is_refused_and_not_shown(url: str, message: str) -> None:
    """PE-07, ER-03, SE-05: some PTs end without a word for such a one."""
    values: Values = {"upstream-proxy": url}
    for held in (PLAIN, BOTH):
        assert refusal(lambda: own_options.proxy(values, held)) == message  # noqa: B023
    assert "s3cret" not in message


def test_a_proxy_shown_by_a_debugger_shows_no_password() -> None:
    """SE-05."""
    proxy = own_options.proxy({"upstream-proxy": "http://u:s3cret@h:1"}, BOTH)
    assert "s3cret" not in repr(proxy)
