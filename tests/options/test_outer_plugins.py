"""The other plugins that `via=` may name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pt_bridge.errors import OptionsError
from pt_bridge.options.client_options import client_line
from pt_bridge.options.config import Config
from pt_bridge.options.outer_plugins import (
    KNOWN,
    KNOWN_WORDS,
    check,
    check_place,
    for_clients,
    hint,
    says_ready,
    values,
)
from pt_bridge.options.plugin_options import parse, serialize
from pt_bridge.options.ss_variables import variables_from_flags
from tests.support.refusals import refusal_of


@pytest.mark.parametrize(
    ("name", "options", "server"),
    [
        ("obfs-local", "obfs=http;obfs-host=www.example.com", False),
        ("obfs-server", "obfs=tls", True),
        ("v2ray-plugin", "path=/x", False),
        ("ss-v2ray-plugin", "server;path=/x", True),
        ("pt-bridge", "server;transport=obfs4", True),
        ("simple-tls", "s;cert=c", True),
        ("ck-client", "", False),
        ("another", "server;a\\", False),
    ],
)
def test_a_plugin_for_our_side_is_let_through(
    name: str,
    options: str,
    server: bool,  # noqa: FBT001
) -> None:
    check(name, options, server=server, has_arguments=False)


@pytest.mark.parametrize(
    ("name", "options", "server", "sentence"),
    [
        (
            "obfs-server",
            "",
            False,
            (
                "via=obfs-server is for the server side, and this is the client side: "
                "write via=obfs-local"
            ),
        ),
        (
            "ck-client",
            "",
            True,
            (
                "via=ck-client is for the client side, and this is the server side: "
                "write via=ck-server"
            ),
        ),
        (
            "v2ray-plugin",
            "server;path=/x",
            False,
            (
                "via-opts= has 'server', which makes v2ray-plugin the server side, and "
                "this is the client side: leave it out"
            ),
        ),
        (
            "simple-tls",
            "",
            True,
            (
                "via-opts= must have 's', or simple-tls would be the client side, and "
                "this is the server side: via-opts=s, and other options behind '\\;'"
            ),
        ),
        (
            "obfs-local",
            "obfs-host=www.example.com",
            False,
            "via=obfs-local needs one of these: via-opts=obfs\\=http or obfs\\=tls",
        ),
        (
            "obfs-server",
            "obfs=ftp",
            True,
            "via=obfs-server needs one of these: via-opts=obfs\\=http or obfs\\=tls",
        ),
        (
            "obfs-local",
            "obfs=http;a\\",
            False,
            (
                "via-opts= is wrong: the plugin options end with a lone backslash at "
                "column 12: write '\\\\' for a backslash"
            ),
        ),
    ],
)
def test_one_for_the_other_side_is_refused(
    name: str,
    options: str,
    server: bool,  # noqa: FBT001
    sentence: str,
) -> None:
    with pytest.raises(OptionsError) as caught:
        check(name, options, server=server, has_arguments=False)
    assert str(caught.value) == sentence


@pytest.mark.parametrize("name", ["v2ray-plugin", "obfs-server"])
def test_the_owners_arguments_may_say_what_the_options_do_not(name: str) -> None:
    check(name, "path=/x", server=True, has_arguments=True)


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("obfs-server", "obfs=http;failover=192.0.2.1:80", ("obfs-local", "obfs=http")),
        ("obfs-server", "obfs=tls;fast-open", ("obfs-local", "obfs=tls")),
        (
            "v2ray-plugin",
            "server;tls;host=a.example;path=/x\\;y;cert=/c;key=/k;loglevel=none",
            ("v2ray-plugin", "tls;host=a.example;path=/x\\;y"),
        ),
        ("ss-v2ray-plugin", "server", ("ss-v2ray-plugin", "")),
        ("xray-plugin", "server", None),
        ("ck-server", "", None),
        ("another", "", None),
    ],
)
def test_what_clients_need_is_told_from_the_servers_options(
    name: str, options: str, expected: tuple[str, str] | None
) -> None:
    assert for_clients(name, options) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("obfs_local", "no such plugin: did you mean 'obfs-local'? "),
        (
            "simple-obfs",
            "simple-obfs is obfs-local on a client, obfs-server on a server; ",
        ),
        ("qqq", ""),
    ],
)
def test_who_has_misspelt_a_name_is_told_the_nearest(name: str, expected: str) -> None:
    assert hint(name) == expected


def test_a_server_that_would_listen_on_udp_is_refused() -> None:
    with pytest.raises(OptionsError, match="with which v2ray-plugin listens on UDP"):
        check("v2ray-plugin", "server;mode=quic", server=True, has_arguments=False)


def test_an_option_that_was_meant_for_the_plugin_is_told_how_to_get_there() -> None:
    """Its ';' and '=' lack their backslashes."""
    options = "transport=obfs3;via=obfs-local;via-opts=obfs\\=http;obfs-host=x.org"
    variables = variables_from_flags(
        local="127.0.0.1:1", remote="192.0.2.1:2", plugin_options=options
    )
    (warned,) = Config(variables).warnings
    assert warned == (
        "obfs3 takes no 'obfs-host' (if it is for obfs-local, write \\; before it in "
        "via-opts=, and \\= in it)"
    )


def test_values_are_known_however_deep_they_stand() -> None:
    """They are secrets: the cert of a PT below a PT, a path that lets in.

    The names of transports and plugins are not: the log would be without them.
    """
    inner = "server;transport=obfs4;via=v2ray-plugin;via-opts=server\\;path\\=/secret"
    assert values(inner) == ["server;path=/secret", "/secret"]
    assert values("a=1;b\\") == ["a=1;b\\"]


def test_each_is_the_other_side_of_its_other_side() -> None:
    for name, known in KNOWN.items():
        assert name in known.programs
        if known.other:
            assert KNOWN[known.other].other == name
            assert {known.side, KNOWN[known.other].side} == {"client", "server"}


# -- what the options ask for ----------------------------------------------------------

OBFS4 = f"transport=obfs4;cert={'A' * 70};iat-mode=0"
PRINTABLE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=20)
OPTIONS = st.lists(st.tuples(PRINTABLE.filter(bool), st.none() | PRINTABLE), max_size=5)


def config(options: str, remote: str = "192.0.2.1:443", **more: object) -> Config:
    given = variables_from_flags(
        local="127.0.0.1:1", remote=remote, plugin_options=options
    )
    return Config(given, **more)  # type: ignore[arg-type]


def refusal(options: str, remote: str = "192.0.2.1:443") -> str:
    return refusal_of(OptionsError, lambda: config(options, remote))


@pytest.mark.parametrize("server", [False, True])
def test_both_sides_take_a_plugin_and_its_options(*, server: bool) -> None:
    options = "server;transport=obfs4" if server else OBFS4
    text = f"{options};via=obfs-local;via-opts=obfs\\=http\\;obfs-host\\=a.example"
    via = config(text).via
    assert via is not None
    assert (via.name, via.options) == ("obfs-local", "obfs=http;obfs-host=a.example")
    assert not via.is_flag
    assert config(options).via is None


def test_the_flag_is_the_owners_word() -> None:
    via = config(OBFS4, flags={"via": "/opt/x"}).via
    assert via is not None
    assert (via.name, via.options, via.is_flag) == ("/opt/x", "", True)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            f"{OBFS4};via-opts=obfs\\=http",
            "via-opts= is for the plugin that via= names: add via=",
        ),
        (
            "transport=webtunnel;url=https://a.example/x;via=obfs-local",
            (
                "via= cannot carry webtunnel, which goes where its url= says, and not "
                "through a plugin: leave via= out"
            ),
        ),
        (
            f"{OBFS4};via=obfs-local;upstream-proxy=socks5://127.0.0.1:9",
            (
                "via= and upstream-proxy= exclude each other: the plugin would go "
                "around the proxy"
            ),
        ),
    ],
)
def test_what_makes_no_sense_is_refused(options: str, sentence: str) -> None:
    assert refusal(options) == sentence


def test_a_client_s_plugin_leads_to_one_server() -> None:
    sentence = refusal(f"{OBFS4};via=obfs-local", "192.0.2.1|192.0.2.2:443")
    assert sentence.startswith("via= leads to one server, and here are 2 ")
    config("server;transport=obfs4;via=obfs-server", "0.0.0.0|[::1]:443")


@pytest.mark.parametrize("name", ["allow", "deny", "max-per-source", "send-proxy-v2"])
def test_what_needs_the_clients_addresses_cannot_be_kept(name: str) -> None:
    """The PT sees them all come from the plugin."""
    options = "server;transport=obfs4;via=obfs-server"
    with pytest.raises(OptionsError) as caught:
        config(options, flags={name: "1"})
    assert f"so that --{name} cannot be kept" in str(caught.value)


@given(OPTIONS, OPTIONS)
def test_nested_options_come_out_as_they_went_in(
    outer: list[tuple[str, str | None]], inner: list[tuple[str, str | None]]
) -> None:
    """OG-12: three levels deep, and what a server's clients get is read as meant."""
    innermost = serialize([*inner, ("via", "x")])
    middle = serialize([*outer, ("via-opts", innermost)])
    line = client_line("obfs4", [("cert", "c=;\\")], "1", ("pt-bridge", middle))
    read = {option.key: option.value for option in parse(line.encode())}
    assert (read["via"], read["via-opts"]) == ("pt-bridge", middle)
    options = [(each.key, each.value) for each in parse(middle.encode())]
    assert options == [*outer, ("via-opts", innermost)]
    assert [(each.key, each.value) for each in parse(innermost.encode())] == [
        *inner,
        ("via", "x"),
    ]
    known = {value for _, value in outer if value} - KNOWN_WORDS
    assert set(values(middle)) >= known


@given(OPTIONS, st.sampled_from(sorted(KNOWN)))
def test_what_clients_get_of_a_servers_options_is_a_part_of_them(
    options: list[tuple[str, str | None]], name: str
) -> None:
    found = for_clients(name, serialize([("obfs", "http"), *options]))
    if found is not None:
        kept = [(each.key, each.value) for each in parse(found[1].encode())]
        assert [each for each in [("obfs", "http"), *options] if each in kept] == kept


def test_a_line_without_options_for_the_plugin_says_nothing_of_them() -> None:
    assert client_line("obfs3", [], "1", ("v2ray-plugin", "")) == (
        "transport=obfs3;session=1;via=v2ray-plugin"
    )


@pytest.mark.parametrize("name", ["socks", "ext-orport", "tor-control"])
def test_a_plugin_is_not_for_tor(name: str) -> None:
    with pytest.raises(OptionsError, match="via= is for shadowsocks, and not for tor"):
        check_place({"via": "obfs-local", name: "x"}, "obfs4", number_of_servers=1)


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("pt-bridge", "transport=obfs4", True),
        ("pt-bridge", "transport=obfs4;loglevel=info", True),
        ("pt-bridge", "transport=obfs4;loglevel=warning", False),
        ("pt-bridge", "loglevel=error;transport=obfs4", False),
        ("obfs-local", "obfs=http", False),
        ("of-the-owner", "\\", False),
    ],
)
def test_only_a_pt_bridge_says_when_it_is_ready(
    name: str, options: str, *, says: bool
) -> None:
    assert says_ready(name, options) is says
