"""What the user asks for: SS_*, the plugin options and the flags, in words of text."""

from __future__ import annotations

import re
from configparser import ConfigParser
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pt_bridge.arguments import client_line
from pt_bridge.config import (
    ADDRESS_VARIABLES,
    HELD_NAME_LENGTH,
    Config,
    variables_from_flags,
)
from pt_bridge.errors import ConfigError, OptionsError, UsageError
from pt_bridge.protocol.address import Address
from pt_bridge.protocol.options import parse, serialize
from pt_bridge.transports import BY_ADDR, BY_PEER, BY_TARGET, PROGRAMS_FOR_UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pt_bridge.own_options import Values

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
    """Give the text of the refusal of SS_* variables."""
    with pytest.raises(UsageError) as caught:
        config(options, variables=variables)
    assert caught.value.exit_code == 64
    return str(caught.value)


def options_error(options: str | bytes, *, flags: Values | None = None) -> str:
    """Give the text of the refusal of plugin options."""
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
    assert usage_error({name: port}) == (
        f"{name} is wrong: it must be a port from 1 to 65535"
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
    assert usage_error({name: host}) == f"{name} is wrong: {why}"


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
    with pytest.raises(UsageError, match=r"^SS_REMOTE_HOST is wrong: "):
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


# hold=both is the usual thing for obfs4; a PT that has the wire to itself binds it.
BARE_SERVER = "server;transport=obfs4;hold={hold}"


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("server.example", "server.example"),
        ("0.0.0.0", "0.0.0.0"),
        ("::", "::"),
        ("0.0.0.0|::", "::"),
        ("::|0.0.0.0", "::"),
        ("::0|0.0.0.0", "::"),
        ("0.0.0.0|192.0.2.1", "0.0.0.0"),
        ("192.0.2.1|[::]", "::"),
        ("192.0.2.1|192.0.2.1", "192.0.2.1"),
        ("::1|0:0::1|[::1]", "::1"),
    ],
)
@pytest.mark.parametrize("hold", ["plain", "none"])
def test_a_servers_pt_listens_on_one_address(text: str, host: str, hold: str) -> None:
    """SV-01, SV-02: a wildcard swallows the others, '::' before 0.0.0.0."""
    options = BARE_SERVER.format(hold=hold)
    asked = config(options, variables={"SS_REMOTE_HOST": text})
    assert asked.remotes == [Address(host, 8388)]


@pytest.mark.parametrize("text", ["192.0.2.1|192.0.2.2", "::1|127.0.0.1", "a.b|c.d"])
@pytest.mark.parametrize("hold", ["plain", "none"])
def test_a_servers_pt_cannot_listen_on_several_addresses(text: str, hold: str) -> None:
    """SV-02, ER-02: pt-spec 3.2.3 has one for each transport."""
    assert usage_error({"SS_REMOTE_HOST": text}, BARE_SERVER.format(hold=hold)) == (
        "SS_REMOTE_HOST is wrong: it (shadowsocks calls it 'server') names several "
        "addresses, and a PT listens on one: give one, or 0.0.0.0, or ::"
    )


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("192.0.2.1", ["192.0.2.1"]),
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
@pytest.mark.parametrize("hold", ["", ";hold=both"])
def test_we_listen_on_several_addresses_for_a_pt_that_is_held_at_both_ends(
    text: str, hosts: list[str], hold: str
) -> None:
    """Design 1, SV-02: on just what the words say."""
    variables = {"SS_REMOTE_HOST": text}
    asked = config(f"server;transport=obfs4{hold}", variables=variables)
    assert asked.remotes == [Address(host, 8388) for host in hosts]


# -- the plugin options ----------------------------------------------------------------


def test_the_options_tell_the_transport_and_its_arguments() -> None:
    """OG-06, OG-08, SK-01: what is not ours is the PT's, in order, duplicates kept."""
    asked = config("cert=good;transport=obfs4;linger=5;iat-mode=0;cert=bad==;x=")
    assert asked.transport == "obfs4"
    assert asked.arguments == [
        ("cert", "good"),
        ("iat-mode", "0"),
        ("cert", "bad=="),
        ("x", ""),
    ]
    assert asked.encoded_arguments == rb"cert=good;iat-mode=0;cert=bad\=\=;x="


def test_the_servers_arguments_are_not_encoded_for_socks() -> None:
    """PE-12, SK-02: they go into the environment, which holds more than 510 bytes."""
    asked = config(f"server;transport=obfs4;drbg-seed={'a' * 600}")
    assert asked.arguments == [("drbg-seed", "a" * 600)]
    assert asked.encoded_arguments == b""


def test_absent_options_are_empty_options() -> None:
    """FE-10: both lack the transport, in the same words."""
    with pytest.raises(OptionsError) as absent:
        Config(ADDRESSES)
    assert str(absent.value) == options_error(b"")
    assert str(absent.value) == (
        "the plugin options do not name the transport: add transport=obfs4, or the one "
        "that the other side uses"
    )


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
    for bare in ("cert", "cert s3cret", "cert:s3cret"):
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
    assert len(config(longest).encoded_arguments) == 510
    assert options_error(f"{longest}v") == (
        "the plugin options: the transport's arguments are 511 bytes long, and no more "
        "than 510 can be passed on"
    )


BAD_SCHEME = (
    "upstream-proxy= must begin with one of: socks5://, socks4a://, http://, socks4://"
)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (
            "transport=obfs4",
            "'transport' is given twice, again at column 104: leave one out",
        ),
        ("state", "'state' at column 104 needs a value: state=DIR"),
        (
            "server;hold=none;linger=5",
            (
                "'linger' has no meaning where the PT connects to shadowsocks by "
                "itself: leave it out, or add hold=plain"
            ),
        ),
        (
            "hold=none",
            (
                "hold=none is for servers: a client needs pt-bridge on the side of "
                "shadowsocks, so leave it out, or write hold=plain"
            ),
        ),
        (
            "hold=plain;upstream-proxy=socks4://h:1",
            (
                "upstream-proxy=socks4:// needs hold=both, for PTs cannot speak it: "
                "begin it with one of: socks5://, socks4a://, http://"
            ),
        ),
        ("hold=all", "hold= must be one of: both, plain, none"),
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


@pytest.mark.parametrize(
    "name", ["1obfs", "obfs-4", "obfs4 ", " obfs4", "obfs4,obfs3", "*", "é", "٣", "a.b"]
)
def test_a_transport_has_a_name_of_the_pt_specification(name: str) -> None:
    """PE-06, OG-05: one name, nothing trimmed."""
    assert options_error(f"transport={name}") == (
        "transport= must be a transport's name: letters, digits and '_', the first no "
        "digit"
    )


def test_a_flag_with_an_empty_name_is_refused_alike() -> None:
    """PE-06: SS_PLUGIN_OPTIONS cannot say it, a command line can."""
    assert options_error("", flags={"transport": ""}).startswith("transport= must be ")


@pytest.mark.parametrize("name", ["tomorrow", "_x", "X1", "OBFUSCATE"])
def test_a_transport_that_is_not_known_is_passed_through(name: str) -> None:
    """Untouched, whatever its arguments, and without a warning."""
    asked = config(f"transport={name};any=thing")
    assert asked.transport == name
    assert asked.programs == PROGRAMS_FOR_UNKNOWN
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
    "bridge= names another server than SS_REMOTE_HOST and SS_REMOTE_PORT, and the PT "
    "would be sent to the latter: set shadowsocks's server and server_port (by hand: "
    "--remote) to the address in the bridge line"
)
PERHAPS_ANOTHER = (
    "the PT is sent to SS_REMOTE_HOST, and not to the address in bridge=: one is a "
    "name and one an IP address, so see that both are the same server"
)


def test_a_bridge_line_stands_for_the_transport_and_its_arguments() -> None:
    """Design 1, OG-02: the '=' between cert and its value may stand bare."""
    asked = config(f"bridge={LINE};linger=5")
    plain = config(f"{OBFS4};linger=5")
    assert (asked.transport, asked.arguments) == (plain.transport, plain.arguments)
    assert asked.encoded_arguments == plain.encoded_arguments
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


def test_the_readmes_example_of_a_bridge_line_is_understood() -> None:
    text = (Path(__file__).parents[1] / "README.rst").read_text()
    (example,) = re.findall(
        r'-s (\S+) -p (\d+) .*\\\n.*"(bridge=.+)"$', text, re.MULTILINE
    )
    host, port, options = example
    asked = config(
        options.replace("cert=...", f"cert={CERT}"),
        variables={"SS_REMOTE_HOST": host, "SS_REMOTE_PORT": port},
    )
    assert asked.arguments == config(OBFS4).arguments
    assert asked.warnings == []


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
            "'bridge' is given twice, again at column 116: leave one out",
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
    assert config().programs == ("lyrebird", "obfs4proxy")
    assert config("server;transport=webtunnel;url=u").programs == ("webtunnel-server",)


def test_the_options_may_choose_one_of_the_known_programs() -> None:
    """Whichever it is: what it offers, it says itself."""
    assert config(f"{OBFS4};exec=obfs4proxy").programs == ("obfs4proxy",)


@pytest.mark.parametrize("wanted", ["/bin/sh", "sh", "../lyrebird", "Lyrebird", "a b"])
def test_any_other_program_is_for_the_owner_to_name(wanted: str) -> None:
    """SE-03: plugin options travel in links; nothing is looked for on their word."""
    asked = config(f"{OBFS4};exec={wanted}")
    assert (asked.exec, asked.programs) == (wanted, ())
    assert not asked.is_program_chosen


def test_the_flag_is_the_owners_own_word() -> None:
    """Whatever the options say."""
    asked = config(f"{OBFS4};exec=lyrebird", flags={"exec": "./my pt"})
    assert asked.is_program_chosen
    assert (asked.exec, asked.programs) == (None, ("./my pt",))


def test_a_transport_that_we_know_no_server_of_needs_the_program_named() -> None:
    """The catalogue says so, and does not guess."""
    assert config("server;transport=snowflake").programs == ()
    asked = config("server;transport=snowflake;exec=lyrebird;any=thing")
    assert asked.programs == ("lyrebird",)
    assert asked.warnings == []


# -- the settings ----------------------------------------------------------------------


def test_what_is_not_asked_for_has_a_default() -> None:
    asked = config()
    assert (asked.linger, asked.idle, asked.start_timeout) == (None, None, 30.0)
    assert asked.restarts == 5
    assert (asked.loglevel, asked.logfile, asked.state) == ("info", None, None)
    assert (asked.upstream_proxy, asked.unsafe_logging) == (None, False)


def test_what_is_asked_for_is_taken() -> None:
    asked = config(
        f"{OBFS4};linger=2.5;idle=3600;start-timeout=5;loglevel=error;logfile=a/log;"
        f"state=mine;hold=plain;restarts=0;upstream-proxy=http://[::1]:3128"
    )
    assert (asked.linger, asked.idle, asked.start_timeout) == (2.5, 3600.0, 5.0)
    assert (asked.loglevel, asked.logfile, asked.state) == ("error", "a/log", "mine")
    assert asked.upstream_proxy is not None
    assert asked.upstream_proxy.address == Address("::1", 3128)


def test_a_linger_of_0_is_not_the_usual_one() -> None:
    """Design 3: None stands for what the kernel decides."""
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
    by_file = Config(environ, may=lambda name: name == key)
    for asked in (by_flag, by_file):
        assert asked.loglevel == flag.get("loglevel", "info")
        assert asked.unsafe_logging is ("unsafe-logging" in flag)
        assert (asked.state, asked.logfile) == (flag.get("state"), flag.get("logfile"))
    with pytest.raises(OptionsError):
        Config(environ, may=lambda name: name != key)


def test_what_is_harmless_does_not_ask_the_owner() -> None:
    """His files would have to be read before the port is open (LC-13)."""

    def owner(option: str) -> bool:
        raise AssertionError(option)

    options = f"{OBFS4};loglevel=info;state=a;logfile=b/c;exec=/bin/sh"
    environ = {**ADDRESSES, b"SS_PLUGIN_OPTIONS": options.encode()}
    assert Config(environ, may=owner).state == "a"


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


# -- which ends of the PT are held -----------------------------------------------------

WEBTUNNEL = "transport=webtunnel;url=https://tunnel.example/path"
NOT_POSSIBLE = (
    "hold=both is not possible with this transport: its tunnels are not one "
    "connection each, or cannot be told apart; leave it out, or write hold=plain"
)
MERGES = (
    "hold=both merges the packets that iat-mode shapes: leave hold= out, or set "
    "iat-mode=0"
)


@pytest.mark.parametrize(
    ("options", "held"),
    [
        (OBFS4, BY_TARGET),
        ("transport=obfs2", BY_TARGET),
        ("transport=obfs3", BY_TARGET),
        ("transport=scramblesuit;password=AAAA", BY_TARGET),
        (WEBTUNNEL, BY_ADDR),
        ("transport=webtunnel;url=nothing;addr=192.0.2.1:1", BY_ADDR),
        ("server;transport=obfs2", BY_PEER),
        ("server;transport=obfs3", BY_PEER),
        ("server;transport=obfs4;iat-mode=0", BY_PEER),
    ],
)
def test_both_ends_are_held_where_the_catalogue_says_how(
    options: str, held: str
) -> None:
    """Design 3: asked for or not."""
    for text in (options, f"{options};hold=both"):
        asked = config(text)
        assert (asked.hold, asked.held) == ("both", held)
    asked = config(f"{options};hold=plain")
    assert (asked.hold, asked.held) == ("plain", "")


@pytest.mark.parametrize(
    "options",
    [
        "transport=meek_lite;url=u",
        "transport=snowflake;url=u;ice=i",
        "transport=conjure",
        "transport=tomorrow",
        "transport=webtunnel;url=nothing",
        f"{WEBTUNNEL};addr=nowhere",
        "server;transport=webtunnel;url=u",
        "server;transport=tomorrow",
        "server;transport=snowflake;exec=lyrebird",
    ],
)
def test_all_others_are_held_at_the_plain_end_only(options: str) -> None:
    """Design 3: and hold=both would not do what its words say."""
    asked = config(options)
    assert (asked.hold, asked.held) == ("plain", "")
    assert options_error(f"{options};hold=both") == NOT_POSSIBLE


@pytest.mark.parametrize("options", ["server;transport=obfs4", "server;transport=x"])
def test_a_servers_pt_may_be_left_alone(options: str) -> None:
    """Design 3: no byte passes through us."""
    asked = config(f"{options};hold=none")
    assert (asked.hold, asked.held) == ("none", "")


@pytest.mark.parametrize("mode", ["1", "2", "x"])
@pytest.mark.parametrize(
    "options", [f"transport=obfs4;cert={CERT}", "server;transport=obfs4"]
)
def test_a_wire_whose_packets_are_shaped_is_left_alone_unless_asked(
    options: str, mode: str
) -> None:
    """Design 3: whoever asks for both is told what that does."""
    asked = config(f"{options};iat-mode={mode}")
    assert (asked.hold, asked.held) == ("plain", "")
    assert MERGES not in asked.warnings
    asked = config(f"{options};iat-mode={mode};hold=both")
    assert asked.hold == "both"
    assert asked.warnings[-1] == MERGES
    assert config(f"{options};iat-mode={mode};hold=plain").hold == "plain"
    # Of equal arguments, PTs take the first.
    assert config(f"{options};iat-mode=0;iat-mode={mode}").hold == "both"
    assert config(f"{options};iat-mode={mode};iat-mode=0").hold == "plain"


def test_a_client_connects_to_what_ss_remote_names() -> None:
    """FE-05: whichever ends are held."""
    for hold in ("both", "plain"):
        asked = config(
            f"{OBFS4};hold={hold}", variables={"SS_REMOTE_HOST": "192.0.2.1|a.example"}
        )
        assert asked.servers == asked.remotes
        assert len(asked.servers) == 2


def test_a_webtunnel_client_connects_to_what_its_arguments_name() -> None:
    """Design 3: never to SS_REMOTE, if we are the ones who dial."""
    assert config(WEBTUNNEL).servers == [Address("tunnel.example", 443)]
    elsewhere = config(f"{WEBTUNNEL};addr=192.0.2.9:8443")
    assert elsewhere.servers == [Address("192.0.2.9", 8443)]
    by_itself = config(f"{WEBTUNNEL};hold=plain")
    assert by_itself.servers == by_itself.remotes


def test_a_pt_that_goes_by_addr_is_asked_for_a_target_there() -> None:
    """Design 3: others get the same arguments for every target."""
    target = Address("name.invalid", 443)
    asked = config(f"{WEBTUNNEL};addr=192.0.2.9:8443;ver=1")
    assert asked.arguments_for(target) == (
        b"url=https://tunnel.example/path;ver=1;addr=name.invalid:443"
    )
    assert b"addr=192.0.2.9:8443" in asked.encoded_arguments
    for options in (OBFS4, f"{WEBTUNNEL};hold=plain"):
        asked = config(options)
        assert asked.arguments_for(target) == asked.encoded_arguments


def test_the_arguments_must_have_room_for_a_target_of_ours() -> None:
    """SK-02, ER-03: found out at the start, not with each connection."""
    place = Address("x" * HELD_NAME_LENGTH, 8388)
    room = 510 - len(f";addr={place}")
    url = "https://tunnel.example/".ljust(room - len("url="), "x")
    asked = config(f"transport=webtunnel;url={url}")
    assert len(asked.arguments_for(place)) == 510
    options = f"transport=webtunnel;url={url}x"
    assert options_error(options) == (
        "the plugin options: the transport's arguments are 511 bytes long, and no more "
        "than 510 can be passed on"
    )
    assert config(f"{options};hold=plain").hold == "plain"


# -- by hand ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("local", "remote", "variables"),
    [
        (
            "127.0.0.1:1984",
            "192.0.2.1:8388",
            [b"127.0.0.1", b"1984", b"192.0.2.1", b"8388"],
        ),
        ("[::1]:1", "[2001:DB8::1]:2", [b"::1", b"1", b"[2001:DB8::1]", b"2"]),
        ("localhost:1", "a|b:2", [b"localhost", b"1", b"a|b", b"2"]),
        ("h:1", "0.0.0.0|[::]:2", [b"h", b"1", b"0.0.0.0|[::]", b"2"]),
        ("h:1", "bücher.example:2", [b"h", b"1", "bücher.example".encode(), b"2"]),
    ],
)
def test_flags_make_the_variables_that_a_host_would_have_made(
    local: str, remote: str, variables: list[bytes]
) -> None:
    """FE-03: the alternatives are joined with '|' here, too."""
    made = variables_from_flags(local=local, remote=remote, plugin_options="a=\udcff")
    assert made == {
        b"SS_LOCAL_HOST": variables[0],
        b"SS_LOCAL_PORT": variables[1],
        b"SS_REMOTE_HOST": variables[2],
        b"SS_REMOTE_PORT": variables[3],
        b"SS_PLUGIN_OPTIONS": b"a=\xff",
    }


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


NOT_BOTH = "it must be HOST:PORT, an IPv6 address in brackets"
NO_BRACKETS = "an IPv6 address must stand in brackets: [::1]:443"
NO_HOST = "it must be a valid host name or IP address"
NO_PORT = "it must be a port from 1 to 65535"


@pytest.mark.parametrize(
    ("local", "remote", "why"),
    [
        ("1984", "h:1", f"--local is wrong: {NOT_BOTH}"),
        ("h:0", "h:1", f"--local is wrong: {NO_PORT}"),
        ("::1:80", "h:1", f"--local is wrong: {NO_BRACKETS}"),
        ("a|b:1", "h:1", f"--local is wrong: {NO_HOST}"),
        ("h", "h", f"--local is wrong: {NOT_BOTH}"),
        ("h:1", "h", f"--remote is wrong: {NOT_BOTH}"),
        ("h:1", "", f"--remote is wrong: {NOT_BOTH}"),
        ("h:1", ":1", f"--remote is wrong: {NOT_BOTH}"),
        ("h:1", "h:", f"--remote is wrong: {NO_PORT}"),
        ("h:1", "a||b:1", f"--remote is wrong: {NO_HOST}"),
        ("h:1", "::1:80", f"--remote is wrong: {NO_BRACKETS}"),
        ("h:1", "::1|::2:80", f"--remote is wrong: {NO_BRACKETS}"),
        ("h:1", "\udcff:80", "--remote is wrong: it must be a valid host name"),
    ],
)
def test_flags_that_are_no_addresses_are_refused(
    local: str, remote: str, why: str
) -> None:
    """ER-02, FE-02, FE-03: the flag is named, what is in it is not shown."""
    with pytest.raises(UsageError) as caught:
        variables_from_flags(local=local, remote=remote, plugin_options="")
    assert caught.value.exit_code == 64
    assert str(caught.value) == why


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
    f"transport=snowflake;url={SECRET};sqscreds={SECRET}",
    f"transport=tomorrow;x={SECRET * 100}",
    f"server={SECRET}",
    f"transport={SECRET}-",
    f"{OBFS4};upstream-proxy=http://u:{SECRET}@h",
    f"{OBFS4};upstream-proxy=http://{SECRET}@h:1",
    f"{OBFS4};upstream-proxy=socks4b://u:{SECRET}@h:1",
    f"{OBFS4};hold=plain;upstream-proxy=socks4://u:{SECRET}@h:1",
    f"{OBFS4};upstream-proxy=http://u:{SECRET}é@h:1",
    f"{OBFS4};upstream-proxy=http://u:{SECRET}@h:1;upstream-proxy=http://u:{SECRET}@h:1",
    f"{OBFS4};state=/{SECRET}",
    f"{OBFS4};logfile=../{SECRET}",
    f"{OBFS4};loglevel={SECRET}",
    f"{OBFS4};hold={SECRET}",
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
    asked = config(f"transport=obfs4;cert={SECRET};iat-mode=0")
    assert SECRET not in repr(asked)


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
    setup.read(Path(__file__).parents[1] / "setup.cfg")
    names = [Path(script).name for script in setup["options"]["scripts"].split()]
    assert names == ["pt-bridge"]
    assert not any(name.startswith("obfsproxy") for name in names)
