"""What the user asks for: SS_*, the plugin options and the flags, in words of text."""

from __future__ import annotations

import re
from configparser import ConfigParser
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pt_bridge.errors import ConfigError, OptionsError, UsageError
from pt_bridge.options.client_options import client_line
from pt_bridge.options.config import Config
from pt_bridge.options.own_options import GONE
from pt_bridge.options.plugin_options import parse, serialize
from pt_bridge.options.ss_variables import ADDRESS_VARIABLES, variables_from_flags
from pt_bridge.options.transports import PROGRAMS_FOR_UNKNOWN
from pt_bridge.protocol.address import Address

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pt_bridge.options.option_values import Values

ADDRESSES = {
    b"SS_REMOTE_HOST": b"192.0.2.1",
    b"SS_REMOTE_PORT": b"8388",
    b"SS_LOCAL_HOST": b"127.0.0.1",
    b"SS_LOCAL_PORT": b"1984",
}
CERT = "AAAA" * 17 + "AA"
NEEDED = f"cert={CERT};iat-mode=0"
OBFS4 = f"transport=obfs4;{NEEDED}"


def config(
    options: str | bytes = OBFS4,
    *,
    flags: Values | None = None,
    variables: Mapping[str, str] | None = None,
) -> Config:
    """Read a configuration whose addresses are right, unless others are given."""
    text = options.encode("utf-8") if isinstance(options, str) else options
    changed = {k.encode(): v.encode() for k, v in (variables or {}).items()}
    environ = {**ADDRESSES, b"SS_PLUGIN_OPTIONS": text, **changed}
    return Config(environ, flags=flags)


def usage_error(variables: Mapping[str, str], options: str = OBFS4) -> str:
    """Return the text of the refusal of SS_* variables."""
    with pytest.raises(UsageError) as caught:
        config(options, variables=variables)
    assert caught.value.exit_code == 64
    return str(caught.value)


def options_error(options: str | bytes, *, flags: Values | None = None) -> str:
    """Return the text of the refusal of plugin options."""
    with pytest.raises(OptionsError) as caught:
        config(options, flags=flags)
    assert caught.value.exit_code == 65
    return str(caught.value)


# -- SS_* ------------------------------------------------------------------------------


def test_the_four_variables_say_where_both_ends_are() -> None:
    """FE-01, FE-05: as a host gives them."""
    asked = config()
    assert asked.local == Address("127.0.0.1", 1984)
    assert asked.remotes == [Address("192.0.2.1", 8388)]
    assert asked.plugin


@pytest.mark.parametrize("name", [name.decode() for name in ADDRESS_VARIABLES])
@pytest.mark.parametrize("absent", [True, False], ids=["absent", "empty"])
def test_a_variable_that_is_not_set_is_named(name: str, *, absent: bool) -> None:
    """FE-01, ER-02: absent or empty; never a default."""
    environ = {**ADDRESSES, b"SS_PLUGIN_OPTIONS": OBFS4.encode(), name.encode(): b""}
    if absent:
        del environ[name.encode()]
    with pytest.raises(UsageError) as caught:
        Config(environ)
    what = "a port from 1 to 65535" if name.endswith("PORT") else "a host"
    assert caught.value.exit_code == 64
    assert str(caught.value) == (
        f"{name} is not set and must be {what}: pt-bridge is started by shadowsocks "
        f"(--plugin pt-bridge), or by hand as 'pt-bridge client' or 'pt-bridge server' "
        f"(see 'pt-bridge --help')"
    )


def test_with_no_variable_at_all_the_first_is_named() -> None:
    """FE-01, FE-13: started by hand, or by a host that takes us for obfsproxy."""
    with pytest.raises(UsageError, match=r"^SS_REMOTE_HOST is not set"):
        Config({})


@pytest.mark.parametrize("name", ["SS_REMOTE_PORT", "SS_LOCAL_PORT"])
@pytest.mark.parametrize(
    "port", ["0", "65536", "-1", "+80", " 80 ", "8_0", "٨٠", "http", "000080"]
)
def test_a_port_that_is_none_is_refused_with_the_variables_name(
    name: str, port: str
) -> None:
    """FE-02, ER-02."""
    called = " (shadowsocks calls it 'server_port')" if "REMOTE" in name else ""
    assert usage_error({name: port}) == (
        f"{name}{called} is wrong: it must be a port from 1 to 65535"
    )


@pytest.mark.parametrize(
    ("name", "host", "why"),
    [
        ("SS_REMOTE_HOST", "a b", "it must be a valid host name or IP address"),
        ("SS_REMOTE_HOST", "192.0.2.1|", "it must be a valid host name or IP address"),
        (
            "SS_REMOTE_HOST",
            "127.1",
            "it must be an IPv4 address of four numbers, or a name",
        ),
        (
            "SS_REMOTE_HOST",
            "http://192.0.2.1",
            "it must be a host alone: leave out 'http://' before it",
        ),
        (
            "SS_REMOTE_HOST",
            "192.0.2.1:8388",
            "it must be a host alone: leave out the ':' and the port behind it",
        ),
        (
            "SS_LOCAL_HOST",
            "::1|127.0.0.1",
            "it must be a valid IPv6 address where it has ':' or '['",
        ),
    ],
)
def test_a_host_that_is_none_is_refused_with_the_variables_name(
    name: str, host: str, why: str
) -> None:
    """FE-03, FE-04, ER-02: named, not shown."""
    called = " (shadowsocks calls it 'server')" if "REMOTE" in name else ""
    assert usage_error({name: host}) == f"{name}{called} is wrong: {why}"


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("192.0.2.1", ["192.0.2.1"]),
        ("::1", ["::1"]),
        ("[::1]", ["::1"]),
        ("localhost", ["localhost"]),
        ("127.0.0.1|127.0.0.2|localhost", ["127.0.0.1", "127.0.0.2", "localhost"]),
        ("::1|127.0.0.1", ["::1", "127.0.0.1"]),
    ],
)
def test_a_client_has_all_the_servers_in_order(text: str, hosts: list[str]) -> None:
    """FE-03, FE-17: they share one port."""
    asked = config(variables={"SS_REMOTE_HOST": text})
    assert asked.remotes == [Address(host, 8388) for host in hosts]


@pytest.mark.parametrize(("host", "version"), [("127.0.0.1", 4), ("::1", 6)])
def test_the_local_end_is_ipv4_or_ipv6(host: str, version: int) -> None:
    """FE-04: the socket's family comes from the literal."""
    asked = config(variables={"SS_LOCAL_HOST": host})
    assert asked.local.ip is not None
    assert asked.local.ip.version == version


def test_the_variables_may_hold_bytes_that_are_not_utf_8() -> None:
    """FE-11: an error like any other."""
    with pytest.raises(UsageError, match=r"^SS_REMOTE_HOST .*'server'\) is wrong: "):
        Config({**ADDRESSES, b"SS_REMOTE_HOST": b"\xff\xfe"})


# -- the role --------------------------------------------------------------------------


def test_the_role_is_the_clients_unless_the_server_is_asked_for() -> None:
    """FE-06."""
    assert not config().server
    assert config("server;transport=obfs4").server
    assert config(f"{OBFS4};", flags={"server": None}).server


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "127.0.0.1", "::1"])
def test_the_role_is_never_guessed_from_an_address(host: str) -> None:
    """FE-05, FE-06: both roles' variables look the same."""
    assert not config(variables={"SS_REMOTE_HOST": host}).server


def test_both_roles_read_the_variables_alike() -> None:
    """FE-05: what the two addresses mean is for who uses them."""
    client, server = config(), config(f"server;{OBFS4}")
    assert (client.local, client.remotes) == (server.local, server.remotes)


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("192.0.2.1", ["192.0.2.1"]),
        ("server.example", ["server.example"]),
        ("0.0.0.0", ["0.0.0.0"]),
        ("::", ["::"]),
        ("192.0.2.1|192.0.2.2", ["192.0.2.1", "192.0.2.2"]),
        ("::1|127.0.0.1", ["::1", "127.0.0.1"]),
        ("::|0.0.0.0", ["::", "0.0.0.0"]),
        ("a.b|c.d", ["a.b", "c.d"]),
        ("192.0.2.1|192.0.2.1", ["192.0.2.1"]),
        ("::1|0:0::1|[::1]", ["::1"]),
        ("192.0.2.1|0.0.0.0|a.b", ["0.0.0.0"]),
        ("0.0.0.0|::1|::1", ["0.0.0.0", "::1"]),
        ("::1|[::]|192.0.2.1|a.b", ["::", "192.0.2.1", "a.b"]),
        ("::|0.0.0.0|::1|192.0.2.1|::0", ["::", "0.0.0.0"]),
    ],
)
def test_a_server_is_where_the_words_say(text: str, hosts: list[str]) -> None:
    """SV-01, SV-02: a wildcard swallows what it includes."""
    asked = config("server;transport=obfs4", variables={"SS_REMOTE_HOST": text})
    assert asked.remotes == [Address(host, 8388) for host in hosts]
    # pt-spec 3.2.3: a PT listens on one address for each transport.
    assert asked.front == (len(hosts) > 1)


@pytest.mark.parametrize(
    ("option", "has_front"), [("front=yes", True), ("front=no", False)]
)
def test_a_servers_front_is_asked_for(option: str, *, has_front: bool) -> None:
    assert config(f"server;transport=obfs4;{option}").front == has_front
    several = {"SS_REMOTE_HOST": "::|0.0.0.0"}
    assert config(f"server;transport=obfs4;{option}", variables=several).front


def test_a_clients_front_is_the_pts() -> None:
    """OG-06: meek's and snowflake's, beside fronts=."""
    client = "transport=meek_lite;url=https://e.com/;front=www.example"
    asked = config(client)
    assert dict(asked.arguments)["front"] == "www.example"
    assert not asked.front
    assert (
        config(client_line("meek_lite", asked.arguments)).arguments == asked.arguments
    )
    assert options_error(client, flags={"server": None}) == (
        "front= must be one of: yes, no"
    )


# -- the plugin options ----------------------------------------------------------------


def test_the_options_tell_the_transport_and_its_arguments() -> None:
    """OG-06, OG-08, SK-01: what is not ours is the PT's, in order, duplicates kept."""
    asked = config(f"cert={CERT};transport=obfs4;linger=5; iat-mode=0 ;cert=bad==;x=; ")
    assert asked.transport == "obfs4"
    assert asked.arguments == [
        ("cert", CERT),
        ("iat-mode", "0"),
        ("cert", "bad=="),
        ("x", ""),
    ]
    assert asked.ways[0].encoded_arguments == (
        rf"cert={CERT};iat-mode=0;cert=bad\=\=;x=".encode()
    )


def test_the_servers_arguments_are_not_encoded_for_socks() -> None:
    """PE-12, SK-02: they go into the environment, which holds more than 510 bytes."""
    asked = config(f"server;transport=obfs4;drbg-seed={'a' * 600}")
    assert asked.arguments == [("drbg-seed", "a" * 600)]
    assert asked.ways == ()


def test_absent_options_are_empty_options() -> None:
    """FE-10: both are none at all, and say where they are to be written."""
    with pytest.raises(OptionsError) as absent:
        Config(ADDRESSES)
    assert str(absent.value) == options_error(b"")
    assert str(absent.value) == (
        'no plugin options came: in config.json their key is "plugin_opts", with a '
        "'_', and on a command line they stand behind --plugin-opts"
    )
    assert options_error(" ; ") == str(absent.value)


@pytest.mark.parametrize(
    ("options", "key", "column", "ours"),
    [
        ("transprot=obfs4", "transprot", 1, "transport"),
        ("a=1;Transport=obfs4;b=2", "Transport", 5, "transport"),
        ("transport=t;upstream_proxy=s3cret", "upstream_proxy", 13, "upstream-proxy"),
    ],
)
@pytest.mark.parametrize("flags", [{}, {"transport": "obfs4", "server": None}])
def test_an_option_of_ours_that_is_misspelt_is_recognised(
    options: str, key: str, column: int, ours: str, flags: Values
) -> None:
    """OG-06, ER-03: before anything else is missed, on both sides."""
    assert options_error(options, flags=flags) == (
        f"there is no option '{key}' (column {column}): did you mean '{ours}'? "
        f"(arg-NAME=VALUE sends any name to the PT)"
    )


@pytest.mark.parametrize(
    "android",
    [
        f"__android_vpn=;{OBFS4}",
        f"{OBFS4};__android_vpn",
        f"transport=obfs4;__android_vpn=1;{NEEDED};__android_vpn",
        f"iat-mode=0;transport=obfs4;__android_vpn=;cert={CERT}",
    ],
)
def test_what_android_adds_is_dropped_wherever_it_stands(android: str) -> None:
    """OG-10, OG-11, HQ-11: and its order is that of a hash map."""
    asked = config(android)
    assert asked.transport == "obfs4"
    assert sorted(asked.arguments) == [("cert", CERT), ("iat-mode", "0")]
    assert asked.warnings == []


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        ("arg-server=1", [("server", "1")]),
        ("arg-transport=x;arg-bridge=y", [("transport", "x"), ("bridge", "y")]),
        ("arg-any=z", [("any", "z")]),
        ("arg-arg-x=1", [("arg-x", "1")]),
        ("arg-__android_vpn=1", [("__android_vpn", "1")]),
    ],
)
def test_a_prefix_sends_an_argument_that_has_a_name_of_ours(
    options: str, arguments: list[tuple[str, str]]
) -> None:
    """OG-06: arg-NAME=VALUE."""
    asked = config(f"transport=tomorrow;{options}")
    assert not asked.server
    assert asked.arguments == arguments


@pytest.mark.parametrize("flags", [{}, {"server": None}])
def test_a_pts_argument_without_a_value_is_refused(flags: Values) -> None:
    """OG-09, ER-03, SE-05: on both sides; no more than its name is shown."""
    for bare in ("cert", "cert s3cret"):
        assert options_error(f"transport=obfs4;{bare}", flags=flags) == (
            "'cert' at column 17 needs a '=' and a value behind it"
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("arg-=s3cret", "the key at column 17 is not a name in printable ASCII"),
        ("ä=s3cret", "the key at column 17 is not a name in printable ASCII"),
        (b"\xff=s3cret", "the key at column 17 is not a name in printable ASCII"),
        ("ä", "the key at column 17 is not a name in printable ASCII"),
        ("url=s3crét", "the value of 'url' at column 17 is not printable ASCII"),
        (b"arg-x=s3cret\xff", "the value of 'x' at column 17 is not printable ASCII"),
    ],
)
@pytest.mark.parametrize("role", ["client", "server"])
def test_a_pts_argument_that_is_not_printable_ascii_is_refused(
    options: str | bytes, message: str, role: str
) -> None:
    """OG-13, ER-03, SE-05: on both sides; the key is named, the value is not."""
    text = options.encode() if isinstance(options, str) else options
    flags: Values = {"server": None} if role == "server" else {}
    assert options_error(b"transport=obfs4;" + text, flags=flags) == message


def test_more_than_510_bytes_of_arguments_are_refused_on_the_client_side() -> None:
    """SK-02, ER-03."""
    longest = f"transport=tomorrow;k={'v' * 508}"
    assert len(config(longest).ways[0].encoded_arguments) == 510
    assert options_error(f"{longest}v") == (
        "the plugin options: the transport's arguments are 511 bytes long, and no more "
        "than 510 can be passed on"
    )


BAD_SCHEME = "upstream-proxy= must begin with one of: socks5://, socks4a://, http://"


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (
            "transport=obfs4",
            "'transport' is given twice, again at column 104: leave one out",
        ),
        ("state", "'state' at column 104 needs a value: state=DIR"),
        (
            "session=only",
            "session=only is for servers: a client takes one of: auto, 1, 0",
        ),
        (
            "server;session=1",
            (
                "session=1 is for clients: a server serves those with a session and "
                "those without, so leave it out, or write session=only"
            ),
        ),
        (
            "upstream-proxy=socks4://h:1",
            (
                "upstream-proxy=socks4:// is a kind of proxy that PTs do not speak: "
                "if yours takes names, too, write socks4a://"
            ),
        ),
        ("session=all", "session= must be one of: auto, 1, 0"),
        ("server;front=s3cret", "front= must be one of: yes, no"),
        ("hold=plain", GONE["hold"]),
        ("server;hold=s3cret", GONE["hold"]),
        ("restarts=many", "restarts= must be a number from 0 to 1000"),
        ("linger=s3cret", "linger= must be seconds, from 0 to 86400"),
        ("idle=s3cret", "idle= must be seconds, from 0 to 86400"),
        ("start-timeout=1m", "start-timeout= must be seconds, from 0 to 86400"),
        ("start-timeout=0", "start-timeout= must be more than 0 seconds"),
        ("upstream-proxy=u:s3cret@h:1", BAD_SCHEME),
        ("loglevel=loud", "loglevel= must be one of: error, warning, info, debug"),
        (
            "=s3cret",
            "the plugin options have a '=' with no key before it at column 104",
        ),
    ],
)
def test_options_that_cannot_be_followed_are_refused(option: str, message: str) -> None:
    """OG-03, OG-07, ER-03."""
    assert options_error(f"{OBFS4};{option}") == message


@pytest.mark.parametrize("name", ["1obfs", "obfs-4", "obfs 4", "*", "é", "٣", "a.b"])
def test_a_transport_has_a_name_of_the_pt_specification(name: str) -> None:
    """PE-06, OG-05: one name, nothing trimmed."""
    assert options_error(f"transport={name}") == (
        "transport= must be a transport's name: letters, digits and '_', the first no "
        "digit"
    )


def test_a_flag_with_an_empty_name_is_refused_alike() -> None:
    """PE-06: SS_PLUGIN_OPTIONS cannot say it, a command line can."""
    assert options_error("x=1", flags={"transport": ""}).startswith("transport= must")


@pytest.mark.parametrize("name", ["tomorrow", "_x", "X1", "OBFUSCATE"])
def test_a_transport_that_is_not_known_is_passed_through(name: str) -> None:
    """Untouched, whatever its arguments, and without a warning."""
    asked = config(f"transport={name};any=thing")
    assert asked.transport == name
    assert asked.programs_for("mine") == PROGRAMS_FOR_UNKNOWN
    assert asked.warnings == []


@pytest.mark.parametrize("name", ["obsf4", "OBFS4", "obfs5"])
def test_a_transport_that_is_nearly_a_known_one_is_warned_of(name: str) -> None:
    """The PT itself would only say that there is no such transport."""
    asked = config(f"transport={name};any=thing")
    assert asked.transport == name
    assert len(asked.warnings) == 1
    assert asked.warnings[0].startswith(f"pt-bridge knows no '{name}': did you mean '")


# -- the transport's arguments ---------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "needs"),
    [
        ("transport=obfs4", "obfs4 needs cert= and iat-mode= in the plugin options: "),
        ("transport=obfs4;cert=s3cret", "obfs4 needs iat-mode= in the plugin options"),
        ("server;transport=webtunnel", "webtunnel needs url= in the plugin options: "),
        ("transport=webtunnel;server;url=u", None),
        ("transport=obfs4;server", None),
    ],
)
def test_what_the_role_needs_must_be_there(options: str, needs: str | None) -> None:
    """SK-14, PF-4, PF-6: before anything starts."""
    if needs:
        assert options_error(options).startswith(needs)
    else:
        assert config(options).warnings == []


CUT = "the value of 'node-id' is not 40 hexadecimal digits: was it copied whole?"


@pytest.mark.parametrize(
    ("options", "warnings"),
    [
        ("", []),
        ("crt=s3cret", ["obfs4 takes no 'crt': did you mean 'cert'?"]),
        ("zzz=1;zzz=2", ["obfs4 takes no 'zzz'"]),
        ("arg-server=1", ["obfs4 takes no 'server'"]),
        ("node-id=s3cret;zzz=1", [CUT, "obfs4 takes no 'zzz'"]),
    ],
)
def test_an_argument_that_may_be_a_mistake_is_warned_of(
    options: str, warnings: list[str]
) -> None:
    """SK-14, SE-05: and passed on all the same."""
    asked = config(f"{OBFS4};{options}")
    assert asked.warnings == warnings
    assert len(asked.arguments) == 2 + options.count("=")


def test_a_line_of_the_clients_on_the_server_side_is_warned_of() -> None:
    """SK-14, FE-06: the role is not guessed from it."""
    (warning,) = config(f"server;{OBFS4}").warnings
    assert warning == (
        "obfs4 takes no 'cert' on the server side: if this is the client, leave out "
        "'server'"
    )


# -- a bridge line ---------------------------------------------------------------------

LINE = f"obfs4 192.0.2.1:8388 cert={CERT} iat-mode=0"
OTHER_SERVER = (
    "bridge= names another server than shadowsocks's server and server_port (or "
    "--remote), and the PT would be sent to the latter: set them to the address in the "
    "bridge line"
)
PERHAPS_ANOTHER = (
    "the PT is sent to shadowsocks's server (or --remote), and not to the address in "
    "bridge=: one is a name and one an IP address, so see that both are the same server"
)


def test_a_bridge_line_stands_for_the_transport_and_its_arguments() -> None:
    """OG-02: the '=' between cert and its value may stand bare."""
    asked = config(f"bridge={LINE};linger=5")
    plain = config(f"{OBFS4};linger=5")
    assert (asked.transport, asked.arguments) == (plain.transport, plain.arguments)
    assert asked.ways[0].encoded_arguments == plain.ways[0].encoded_arguments
    assert (asked.linger, asked.warnings) == (5.0, [])


def test_a_bridge_line_is_escaped_like_any_value() -> None:
    """OG-01: SIP003 takes the backslashes, the line itself has none."""
    line = r"webtunnel [2001:db8::1]:443 url\=https://e.example/a\;b\\c ver=0.0.2"
    asked = config(f"bridge={line}")
    assert asked.arguments == [("url", r"https://e.example/a;b\c"), ("ver", "0.0.2")]


@pytest.mark.parametrize(
    "pasted",
    [
        "bridge=\u201cBridge\u00a0obfs3  192.0.2.1:8388\u201d",
        "bridge=\ufeffBridge obfs3 192.0.2.1:8388",
        'bridge="BRIDGE obfs3 192.0.2.1:8388";',
    ],
)
def test_a_bridge_line_is_taken_as_people_paste_it(pasted: str) -> None:
    """Demand 34."""
    assert config(pasted).transport == "obfs3"


def test_the_page_on_clients_has_bridge_lines_that_are_understood() -> None:
    text = (Path(__file__).parents[2] / "docs/client.rst").read_text()
    examples = re.findall(
        r'-s (\S+) -p (\d+) .*\\\n.*"(bridge=.+)"$', text, re.MULTILINE
    )
    ways = []
    for host, port, options in examples:
        asked = config(
            options.replace("cert=...", f"cert={CERT}"),
            variables={"SS_REMOTE_HOST": host, "SS_REMOTE_PORT": port},
        )
        assert asked.arguments == config(OBFS4).arguments
        assert asked.warnings == []
        ways.append([way.transport for way in asked.ways])
    assert ways == [["obfs4"], ["obfs4", "obfs3"]]


def test_a_flag_may_hold_the_bridge_line() -> None:
    """Standalone, where its line ends do no harm (OG-03 is of the options)."""
    asked = config("", flags={"bridge": f"{LINE}\r\n"})
    assert asked.transport == "obfs4"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            f"bridge={LINE};transport=obfs4",
            "bridge= names the transport, too: leave out transport=, or bridge=",
        ),
        (
            f"bridge={LINE};{NEEDED}",
            (
                "bridge= holds the transport's arguments, too: leave out cert= "
                r"iat-mode=, or bridge= (and write a ';' within the line as '\;')"
            ),
        ),
        (
            "bridge=webtunnel [2001:db8::1]:443 url=https://e.example/a;b=s3cret",
            (
                "bridge= holds the transport's arguments, too: leave out b=, "
                r"or bridge= (and write a ';' within the line as '\;')"
            ),
        ),
        (
            f"server;bridge={LINE}",
            "'bridge' has a meaning on the client side only",
        ),
        (
            f"bridge={LINE};bridge={LINE}",
            "'bridge' is given twice with the same line: leave one out",
        ),
        (
            "bridge=192.0.2.1:8388 s3cret",
            (
                "bridge= is wrong: it names no transport: a bridge without one is a "
                "plain Tor relay, which is no way to a shadowsocks server"
            ),
        ),
        (
            "bridge=obfs4 192.0.2.1:8388 iat-mode=0",
            (
                "obfs4 needs cert= in the plugin options: copy the server's line (and "
                "on the server side, add 'server')"
            ),
        ),
        (
            f"bridge=obfs3 192.0.2.1:8388 k={'v' * 600}",
            (
                "the plugin options: the transport's arguments are 602 bytes long, and "
                "no more than 510 can be passed on"
            ),
        ),
    ],
)
def test_a_bridge_line_that_cannot_be_followed_is_refused(
    options: str, message: str
) -> None:
    """ER-03, OG-07: two that say the same are two all the same."""
    assert options_error(options) == message


def test_a_bridge_line_and_a_flag_cannot_both_name_the_transport() -> None:
    """The flag could not come before what the line says: which half of it?"""
    message = "bridge= names the transport, too: leave out transport=, or bridge="
    assert options_error(f"bridge={LINE}", flags={"transport": "obfs4"}) == message
    assert options_error("transport=obfs4", flags={"bridge": LINE}) == message


@pytest.mark.parametrize(
    ("host", "line"),
    [
        ("5.6.7.8", "5.6.7.8:8388"),
        ("9.9.9.9|5.6.7.8", "5.6.7.8:8388"),
        ("2a00::1", "[2A00:0::1]:8388"),
        ("Bridge.example", "bridge.example:8388"),
        # Nobody is there, whatever shadowsocks is told.
        ("5.6.7.8", "[2001:db8::1]:443"),
        ("5.6.7.8", "192.0.2.3:80"),
        ("server.example", "0.0.3.0:1"),
    ],
)
def test_a_bridge_lines_server_is_the_one_that_is_dialled(host: str, line: str) -> None:
    """FE-05, FE-17: SS_REMOTE_*, and one of several is enough."""
    asked = config(f"bridge=obfs3 {line}", variables={"SS_REMOTE_HOST": host})
    assert asked.warnings == []


@pytest.mark.parametrize(
    ("host", "line"),
    [
        ("5.6.7.8", "5.6.7.9:8388"),
        ("5.6.7.8", "5.6.7.8:443"),
        ("5.6.7.8|2a00::1", "[2a00::2]:8388"),
        ("192.0.2.1", "5.6.7.8:8388"),
        ("127.0.0.1", "5.6.7.8:8388"),
        ("a.example", "b.example:8388"),
        ("a.example", "5.6.7.8:443"),
        ("5.6.7.8", "a.example:443"),
    ],
)
def test_a_bridge_line_for_another_server_is_refused(host: str, line: str) -> None:
    """Nobody connects to a server that is not the one in the line; none is shown."""
    with pytest.raises(OptionsError) as caught:
        config(f"bridge=obfs3 {line}", variables={"SS_REMOTE_HOST": host})
    assert str(caught.value) == OTHER_SERVER


@pytest.mark.parametrize(
    ("host", "line"),
    [
        ("a.example", "5.6.7.8:8388"),
        ("5.6.7.8", "a.example:8388"),
        ("9.9.9.9|a.example", "5.6.7.8:8388"),
    ],
)
def test_a_name_and_an_address_that_may_be_the_same_are_warned_of(
    host: str, line: str
) -> None:
    """Nothing is resolved here; the name that shadowsocks gives is what is dialled."""
    asked = config(f"bridge=obfs3 {line}", variables={"SS_REMOTE_HOST": host})
    assert asked.warnings == [PERHAPS_ANOTHER]


def test_a_bridge_of_tors_is_warned_of() -> None:
    """It works, and leads only to Tor; the fingerprint is no argument."""
    line = LINE.replace(" cert", " 0BAC39417268B96B9F514E7F63FA6FBA1A788955 cert")
    asked = config(f"bridge={line}")
    assert asked.warnings == [
        (
            "the bridge line has a fingerprint, as Tor's bridges have: those lead only "
            "to Tor, and never to a shadowsocks server"
        )
    ]
    assert [key for key, _ in asked.arguments] == ["cert", "iat-mode"]


def test_a_bridge_lines_arguments_are_looked_at_like_any() -> None:
    """SK-14."""
    asked = config(f"bridge={LINE} crt=s3cret")
    assert asked.warnings == ["obfs4 takes no 'crt': did you mean 'cert'?"]


# -- the program -----------------------------------------------------------------------


def test_the_program_is_what_the_catalogue_names() -> None:
    """SE-03: names to look for, the preferred one first."""
    assert config().programs_for("obfs4") == ("lyrebird", "obfs4proxy")
    assert config("server;transport=webtunnel;url=u").programs_for("webtunnel") == (
        "webtunnel-server",
    )


def test_the_options_may_choose_one_of_the_known_programs() -> None:
    """Whichever it is: what it offers, it says itself."""
    assert config(f"{OBFS4};exec=obfs4proxy").programs_for("obfs4") == ("obfs4proxy",)


@pytest.mark.parametrize("wanted", ["/bin/sh", "sh", "../lyrebird", "Lyrebird", "a b"])
def test_any_other_program_is_for_the_owner_to_name(wanted: str) -> None:
    """SE-03: plugin options travel in links; nothing is looked for on their word."""
    asked = config(f"{OBFS4};exec={wanted}")
    assert (asked.exec, asked.programs_for("obfs4")) == (wanted, ())
    assert not asked.is_program_chosen


def test_the_flag_is_the_owners_own_word() -> None:
    """Whatever the options say."""
    asked = config(f"{OBFS4};exec=lyrebird", flags={"exec": "./my pt"})
    assert asked.is_program_chosen
    assert (asked.exec, asked.programs_for("obfs4")) == ("./my pt", ("./my pt",))


def test_a_transport_that_we_know_no_server_of_needs_the_program_named() -> None:
    """The catalogue says so, and does not guess."""
    assert config("server;transport=snowflake").programs_for("snowflake") == ()
    asked = config("server;transport=snowflake;exec=lyrebird;any=thing")
    assert asked.programs_for("snowflake") == ("lyrebird",)
    assert asked.warnings == []


# -- the settings ----------------------------------------------------------------------


def test_what_is_not_asked_for_has_a_default() -> None:
    asked = config()
    assert (asked.linger, asked.idle, asked.start_timeout) == (None, None, 30.0)
    assert asked.restarts == 5
    assert asked.session == "auto"
    assert (asked.loglevel, asked.logfile, asked.state) == ("info", None, None)
    assert (asked.upstream_proxy, asked.unsafe_logging) == (None, False)


def test_what_is_asked_for_is_taken() -> None:
    asked = config(
        f"{OBFS4};linger=2.5;idle=3600;start-timeout=5;loglevel=error;logfile=a/log;"
        f"state=mine;session=1;restarts=0;upstream-proxy=http://[::1]:3128"
    )
    assert (asked.linger, asked.idle, asked.start_timeout) == (2.5, 3600.0, 5.0)
    assert (asked.loglevel, asked.logfile, asked.state) == ("error", "a/log", "mine")
    assert asked.session == "1"
    assert asked.upstream_proxy is not None
    assert asked.upstream_proxy.address == Address("::1", 3128)


def test_a_linger_of_0_is_not_the_usual_one() -> None:
    """None stands for what the kernel decides."""
    assert config(f"{OBFS4};linger=0").linger == 0.0


def test_an_idle_time_of_0_is_no_limit() -> None:
    assert config(f"{OBFS4};idle=0").idle is None


@pytest.mark.parametrize(
    ("option", "flag"),
    [
        ("loglevel=debug", {"loglevel": "debug"}),
        ("unsafe-logging", {"unsafe-logging": None}),
        ("state=/etc/x", {"state": "/etc/x"}),
        ("logfile=../x", {"logfile": "../x"}),
    ],
)
def test_only_the_owner_lets_plugin_options_do_what_may_harm(
    option: str, flag: Values
) -> None:
    """ER-03, SE-02, SE-05: by a flag, or by a line in his file."""
    (key,) = flag
    assert f"add the line 'AllowPluginOption {key}' to /etc/" in options_error(
        f"{OBFS4};{option}"
    )
    by_flag = config(flags=flag)
    environ = {**ADDRESSES, b"SS_PLUGIN_OPTIONS": f"{OBFS4};{option}".encode()}
    by_file = Config(environ, is_allowed=lambda name: name == key)
    for asked in (by_flag, by_file):
        assert asked.loglevel == flag.get("loglevel", "info")
        assert asked.unsafe_logging is ("unsafe-logging" in flag)
        assert (asked.state, asked.logfile) == (flag.get("state"), flag.get("logfile"))
    with pytest.raises(OptionsError):
        Config(environ, is_allowed=lambda name: name != key)


def test_what_is_harmless_does_not_ask_the_owner() -> None:
    """His files would have to be read before the port is open (LC-13)."""

    def owner(option: str) -> bool:
        raise AssertionError(option)

    options = f"{OBFS4};loglevel=info;state=a;logfile=b/c;exec=/bin/sh"
    environ = {**ADDRESSES, b"SS_PLUGIN_OPTIONS": options.encode()}
    assert Config(environ, is_allowed=owner).state == "a"


def test_a_flag_comes_before_the_same_option() -> None:
    """The owner's word comes before that of a link."""
    asked = config(
        f"{OBFS4};linger=1;loglevel=error", flags={"linger": "2", "transport": "obfs4"}
    )
    assert (asked.linger, asked.loglevel) == (2.0, "error")


def test_the_order_of_our_own_options_means_nothing() -> None:
    """OG-11, HQ-11."""
    parts = ["server", "transport=obfs4", "loglevel=error", "state=a", "iat-mode=1"]
    for _ in parts:
        parts = [*parts[1:], parts[0]]
        asked = config(";".join(parts))
        assert (asked.server, asked.transport, asked.state) == (True, "obfs4", "a")
        assert asked.arguments == [("iat-mode", "1")]


def test_a_backslash_that_stands_before_nothing_is_warned_of() -> None:
    r"""OG-01: it is left out, which hardly anybody means who writes ``DOMAIN\user``."""
    options = rf"{OBFS4};upstream-proxy=http://a\b:c@h:1"
    column = options.index("\\") + 1
    (warning,) = config(options).warnings
    assert warning == (
        f"the backslash at column {column} of the plugin options is left out: write "
        f"two where one is meant (in JSON four)"
    )


# -- the session -----------------------------------------------------------------------


def test_tors_bridges_are_asked_for_no_session() -> None:
    """They never speak it: a line with a fingerprint saves the detour."""
    line = f"obfs4 192.0.2.1:8388 {'0123456789' * 4} cert={CERT} iat-mode=0"
    bare = line.replace(f"{'0123456789' * 4} ", "")
    assert config(f"bridge={bare}").session == "auto"
    assert config(f"bridge={line}").session == "0"
    assert config(f"bridge={line};session=1").session == "1"


def test_udp_needs_the_session() -> None:
    """Nothing else carries a datagram; a server knows its clients by what they say."""
    assert not config().udp
    assert config(f"{OBFS4};udp").session == "1"
    assert config(f"{OBFS4};udp;session=auto").udp
    assert config("server;transport=obfs4;udp").udp
    said = options_error(f"{OBFS4};udp;session=0")
    assert said.startswith("'udp' needs the session, and session=0 is without one")
    line = f"obfs4 192.0.2.1:8388 {'0123456789' * 4} cert={CERT} iat-mode=0"
    said = options_error(f"bridge={line};udp")
    assert said.startswith("'udp' needs a pt-bridge on the server, and the bridge line")


def test_only_a_server_turns_clients_without_a_session_away() -> None:
    assert config("server;transport=obfs4;session=only").only_sessions
    assert not config("server;transport=obfs4").only_sessions
    assert not config().only_sessions
    assert config("server;transport=obfs4").session == "0"  # it opens none


# -- by hand ---------------------------------------------------------------------------


def test_a_configuration_made_by_hand_is_like_one_from_a_host() -> None:
    """For programs that cannot run plugins."""
    variables = variables_from_flags(
        local="127.0.0.1:1984", remote="192.0.2.1:8388", plugin_options=OBFS4
    )
    by_hand, by_host = Config(variables, plugin=False), config()
    assert not by_hand.plugin
    assert by_hand.local == by_host.local
    assert by_hand.remotes == by_host.remotes
    assert by_hand.arguments == by_host.arguments


# -- what holds for all of it ----------------------------------------------------------

SECRET = "s3cret"
SECRETIVE = [
    f"transport=obfs4;cert={SECRET}",
    f"transport=obfs4;cert:{SECRET}",
    f"transport=obfs4;cert {SECRET};iat-mode=0",
    f"{OBFS4};upstream_proxy=http://u:{SECRET}@h:1",
    f"{OBFS4};upstream-proxy http://u:{SECRET}@h:1",
    f"transport=obfs4;cert={SECRET};iat-mode=0\n",
    f"transport=obfs4;cert={SECRET};iat-mode=0\\",
    f"transport=obfs4;cert={SECRET};={SECRET}",
    f"transport=obfs4;cert={SECRET}é;iat-mode=0",
    f"transport=scramblesuit;password={SECRET}é",
    f"transport=snowflake;ice={SECRET};sqscreds={SECRET}",
    f"transport=tomorrow;x={SECRET * 100}",
    f"server={SECRET}",
    f"transport={SECRET}-",
    f"{OBFS4};upstream-proxy=http://u:{SECRET}@h",
    f"{OBFS4};upstream-proxy=http://{SECRET}@h:1",
    f"{OBFS4};upstream-proxy=socks4b://u:{SECRET}@h:1",
    f"{OBFS4};upstream-proxy=socks4://u:{SECRET}@h:1",
    f"{OBFS4};upstream-proxy=http://u:{SECRET}é@h:1",
    f"{OBFS4};upstream-proxy=http://u:{SECRET}@h:1;upstream-proxy=http://u:{SECRET}@h:1",
    f"{OBFS4};state=/{SECRET}",
    f"{OBFS4};logfile=../{SECRET}",
    f"{OBFS4};loglevel={SECRET}",
    f"{OBFS4};hold={SECRET}",
    f"{OBFS4};session={SECRET}",
    f"server;{OBFS4};session={SECRET}",
    f"server;{OBFS4};front={SECRET}",
    f"{OBFS4};restarts={SECRET}",
    f"{OBFS4};idle={SECRET}",
    f"bridge=obfs4 192.0.2.1:8388 cert={SECRET}",
    f"bridge=obfs4 192.0.2.1:8388 {SECRET} iat-mode=0",
    f"bridge=obfs4 192.0.2.1:8388 cert={SECRET} {SECRET}",
    f"bridge=obfs4 {SECRET} cert={SECRET}",
    f"bridge={SECRET}.example:1 {SECRET}",
    f"bridge=obfs3 {SECRET}.example:1;x={SECRET}",
]


@pytest.mark.parametrize("options", SECRETIVE)
def test_no_error_shows_the_value_of_an_option(options: str) -> None:
    """SE-05, ER-03: nor does the chain of what caused it."""
    with pytest.raises(ConfigError) as caught:
        config(options)
    error: BaseException | None = caught.value
    while error is not None:
        assert SECRET not in str(error)
        error = error.__cause__


@pytest.mark.parametrize("name", [name.decode() for name in ADDRESS_VARIABLES])
def test_no_error_shows_the_value_of_a_variable(name: str) -> None:
    """ER-02: SS_REMOTE_HOST is named, not shown."""
    for value in (f"{SECRET} {SECRET}", f"{SECRET}%", f"[{SECRET}]", f"{SECRET}é."):
        assert SECRET not in usage_error({name: f"{value}|"})


def test_a_configuration_shown_by_a_debugger_shows_no_argument() -> None:
    """SE-05."""
    asked = config(OBFS4)
    assert CERT not in repr(asked)


PRINTABLE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=9)


@settings(database=None, deadline=None)
@given(
    st.lists(
        st.tuples(
            PRINTABLE.filter(bool) | st.sampled_from(["server", "servers", "arg-x"]),
            PRINTABLE,
        ),
        max_size=5,
    )
)
def test_the_line_for_clients_is_read_back(arguments: list[tuple[str, str]]) -> None:
    """OG-12, SV-06: from what the server printed to what the client sends."""
    asked = config(client_line("tomorrow", arguments))
    assert (asked.transport, asked.arguments) == ("tomorrow", arguments)


def test_options_that_were_written_by_us_stay_the_same_when_written_again() -> None:
    """OG-12."""
    text = r"transport=webtunnel;url=https://e.com/p?a\=b\;c"
    pairs = [(option.key, option.value) for option in parse(text.encode())]
    assert serialize(pairs) == text


def test_the_program_has_no_name_that_begins_like_obfsproxy() -> None:
    """FE-13: shadowsocks would then pass no SS_* at all."""
    setup = ConfigParser()
    setup.read(Path(__file__).parents[2] / "setup.cfg")
    names = [Path(script).name for script in setup["options"]["scripts"].split()]
    assert names == ["pt-bridge"]
    assert not any(name.startswith("obfsproxy") for name in names)


# -- ways ------------------------------------------------------------------------------

OTHER_LINE = LINE.replace("192.0.2.1:8388", "192.0.2.7:443")


def test_one_way_leads_to_where_shadowsocks_says() -> None:
    asked = config(OBFS4)
    (way,) = asked.ways
    assert (way.transport, way.addresses) == ("obfs4", asked.remotes)
    assert way.arguments == asked.arguments


def test_each_of_several_bridge_lines_is_a_way_to_its_own_address() -> None:
    """The address of shadowsocks's server is none of them, perhaps."""
    asked = config(f"bridge={LINE};bridge={OTHER_LINE}")
    assert [str(way.addresses[0]) for way in asked.ways] == [
        "192.0.2.1:8388",
        "192.0.2.7:443",
    ]
    assert [str(each) for each in asked.remotes] == ["192.0.2.1:8388"]
    assert asked.warnings == []
    assert CERT in asked.secrets


def test_ways_may_be_by_different_transports() -> None:
    """Each is held against its own part of the catalogue."""
    lines = f"bridge={LINE};bridge=webtunnel 192.0.2.7:443 url\\=https://w.example/x"
    asked = config(f"{lines};bridge=obfs4x 192.0.2.8:1")
    assert asked.transports == ["obfs4", "webtunnel", "obfs4x"]
    assert asked.programs_for("webtunnel") == ("lyrebird", "webtunnel-client")
    assert asked.warnings == ["pt-bridge knows no 'obfs4x': did you mean 'obfs4'?"]
    text = options_error(f"bridge={LINE};bridge=webtunnel 192.0.2.7:443")
    assert text.startswith("webtunnel needs url=")


def test_each_bridge_line_needs_all_its_arguments() -> None:
    text = options_error(f"bridge={LINE};bridge=obfs4 192.0.2.7:443 iat-mode=0")
    assert text.startswith("obfs4 needs cert=")


# -- the owner's file of bridge lines --------------------------------------------------


def named(options: str, *lines: str) -> Config:
    """Read options, with a file called home that holds these lines."""
    given = variables_from_flags(
        local="127.0.0.1:1", remote="192.0.2.1:8388", plugin_options=options
    )
    return Config(given, bridges={"home": lines}.__getitem__)


def test_bridges_are_the_lines_of_the_owners_file() -> None:
    """Even one line alone says where its server is."""
    other = "obfs3 192.0.2.7:443"
    assert [way.transport for way in named("bridges=home", LINE, other).ways] == [
        "obfs4",
        "obfs3",
    ]
    asked = named("bridges=home", other)
    assert [str(each) for each in asked.remotes] == ["192.0.2.7:443"]
    assert asked.warnings == []


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ("bridges=../etc/passwd", "bridges= must be the name of a file NAME.bridges"),
        (f"bridges={'a' * 65}", "bridges= must be the name of a file NAME.bridges"),
        ("bridges=home;bridge=obfs3 192.0.2.7:1", "leave out bridge="),
        ("bridges=home;transport=obfs4", "leave out transport="),
        ("server;bridges=home", "has a meaning on the client side only"),
    ],
)
def test_what_bridges_cannot_be_is_refused(options: str, why: str) -> None:
    with pytest.raises(OptionsError, match=re.escape(why)):
        named(options, LINE)


def test_who_reads_no_files_wants_the_lines() -> None:
    assert "give the lines instead" in options_error("bridges=home")
