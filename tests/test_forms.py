"""The four forms: told apart, read, written, and turned into each other."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pt_bridge.errors import OptionsError, UsageError
from pt_bridge.forms import (
    BRIDGE,
    FORMS,
    JSON,
    LINK,
    OPTIONS,
    amend,
    form_of,
    notes,
    read,
    write,
)
from pt_bridge.own_options import TOR_BRIDGE
from pt_bridge.protocol.bridge_line import BridgeLine
from pt_bridge.protocol.profile import Profile, is_text
from tests.protocol.test_bridge_line import LINES

SECRET = "s3cret"
CERT = "AAAA" * 17 + "AA"
FINGERPRINT = "0BAC39417268B96B9F514E7F63FA6FBA1A788955"
LINE = f"obfs4 198.51.100.7:8443 cert={CERT} iat-mode=0"
OPTIONS_TEXT = f"transport=obfs4;cert={CERT};iat-mode=0"
LINK_TEXT = (
    "ss://YWVzLTI1Ni1nY206cEBzczp3b3Jk@198.51.100.7:8443/?plugin=pt-bridge"
    f"%3Btransport%3Dobfs4%3Bcert%3D{CERT}%3Biat-mode%3D0"
)
JSON_TEXT = f"""\
{{
    "server": "198.51.100.7",
    "server_port": 8443,
    "local_address": "127.0.0.1",
    "local_port": 1080,
    "method": "aes-256-gcm",
    "password": "p@ss:word",
    "plugin": "pt-bridge",
    "plugin_opts": "{OPTIONS_TEXT}"
}}"""
TEXTS = {
    BRIDGE: LINE,
    OPTIONS: OPTIONS_TEXT,
    LINK: LINK_TEXT,
    JSON: JSON_TEXT,
}
WHOLE = Profile(
    hosts=("198.51.100.7",),
    port=8443,
    method="aes-256-gcm",
    password="p@ss:word",
    plugin="pt-bridge",
    plugin_opts=OPTIONS_TEXT,
)
SERVERS = replace(WHOLE, plugin_opts="server;transport=obfs4")


def refusal(text: str) -> str:
    """Give the text of the refusal to read, which tells no secret."""
    with pytest.raises(OptionsError) as caught:
        read(text)
    assert caught.value.exit_code == 65
    assert SECRET not in str(caught.value)
    return str(caught.value)


def missing(profile: Profile, form: str) -> str:
    """Give the text of the refusal to write, which names a flag."""
    with pytest.raises(UsageError) as caught:
        write(profile, form)
    assert caught.value.exit_code == 64
    return str(caught.value)


# -- telling them apart ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "text"),
    [
        *TEXTS.items(),
        (BRIDGE, f"Bridge {LINE}"),
        (BRIDGE, f'"{LINE}",'),
        (BRIDGE, "bridge 198.51.100.7:443"),
        (BRIDGE, f"198.51.100.7:443 {FINGERPRINT}"),
        (BRIDGE, f"# obfs4 torrc client bridge line\n\nBridge {LINE}"),
        (OPTIONS, "server"),
        (OPTIONS, "server;transport=obfs4"),
        (OPTIONS, f'"{OPTIONS_TEXT}"\r\n'),
        (OPTIONS, f"bridge={LINE}"),
        (OPTIONS, "transport=webtunnel;url=ss://e/{a}"),
        (LINK, "\ufeff SS://x"),
        (LINK, '"ss://x"'),
        (JSON, "\ufeff\n{"),
        (JSON, "[ {"),
        (JSON, '{"server": "ss://"}'),
    ],
)
def test_a_text_tells_what_it_is(form: str, text: str) -> None:
    assert form_of(text) == form


@pytest.mark.parametrize("text", ["", " \n", '""', "s3cret", "obfs4", "[::1]:443", "#"])
def test_what_is_none_of_them_is_refused(text: str) -> None:
    """ER-03."""
    assert refusal(text) == (
        "this is no bridge line, no plugin options (key=value;...), no ss:// link and "
        "no JSON: was it copied whole?"
    )


# -- reading ---------------------------------------------------------------------------


def test_each_tells_what_it_holds() -> None:
    bridge_line = replace(WHOLE, method=None, password=None)
    assert read(LINE) == bridge_line
    assert read(OPTIONS_TEXT) == Profile(plugin="pt-bridge", plugin_opts=OPTIONS_TEXT)
    assert read(LINK_TEXT) == WHOLE
    assert read(JSON_TEXT) == replace(WHOLE, local_host="127.0.0.1", local_port=1080)
    with_fingerprint = LINE.replace(" cert", f" {FINGERPRINT} cert")
    assert read(with_fingerprint) == replace(bridge_line, fingerprint=FINGERPRINT)


def test_options_with_a_bridge_line_tell_the_server_too() -> None:
    """Design 1: and stay as they are."""
    text = f"bridge=Bridge {LINE};idle=60"
    profile = read(f"{text}\n")
    assert (profile.hosts, profile.port) == (("198.51.100.7",), 8443)
    assert profile.plugin_opts == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "198.51.100.7:443 s3cret",
            (
                "this bridge line is wrong: it names no transport: a bridge without "
                "one is a plain Tor relay, which is no way to a shadowsocks server"
            ),
        ),
        (
            "transport=obfs4;upstream_proxy=s3cret",
            (
                "there is no option 'upstream_proxy' (column 17): did you mean "
                "'upstream-proxy'? (arg-NAME=VALUE sends any name to the PT)"
            ),
        ),
        (
            "bridge=obfs4 198.51.100.7:443 s3cret",
            (
                "bridge= is wrong: what follows the address is neither a fingerprint "
                "of 40 hexadecimal digits nor key=value"
            ),
        ),
        (
            f"bridge={LINE};cert=s3cret",
            (
                "bridge= holds the transport's arguments, too: leave out cert=, or "
                r"bridge= (and write a ';' within the line as '\;')"
            ),
        ),
        (
            "ss://s3cret@h:1",
            (
                "this shadowsocks link is wrong: method and password are not base64 in "
                "it: was it copied whole?"
            ),
        ),
        (
            '{"server": "s3cret",}',
            (
                "this shadowsocks configuration is wrong: it is broken at line 1, "
                "column 21: there is a ',' too many before it, or a comment"
            ),
        ),
        ("transport=obfs4;cert=s3cret\udcff", "this is not text in UTF-8"),
        ("transport=obfs4;cert=s3cret\0", "this is not text in UTF-8"),
    ],
)
def test_what_is_broken_is_refused_with_the_reason(text: str, message: str) -> None:
    """ER-03, SE-05."""
    assert refusal(text) == message


@settings(database=None, deadline=None)
@given(
    st.text(max_size=30)
    | st.lists(
        st.sampled_from(
            [
                *(
                    "bridge=",
                    "transport=",
                    "obfs4",
                    " ",
                    ";",
                    "\\",
                    "=",
                    "198.51.100.7",
                ),
                *(":443", "ss://", "@", "?plugin=", "{", "[", '"server":', '"', "}"),
                *(FINGERPRINT, "k=v", "\udcff", "\0", "Bridge", "server", "#", "e30"),
            ]
        ),
        max_size=9,
    ).map("".join)
)
def test_only_an_error_of_the_options_ever_comes_out(text: str) -> None:
    """Design 5."""
    try:
        read(text)
    except OptionsError:
        return


# -- what the command line adds --------------------------------------------------------


def test_what_is_given_comes_before_what_was_read() -> None:
    profile = amend(
        WHOLE, remote="[2001:DB8::1]:1", local="a.b:2", method="none", password=""
    )
    assert profile == replace(
        WHOLE,
        hosts=("2001:db8::1",),
        port=1,
        local_host="a.b",
        local_port=2,
        method="none",
        password="",
    )
    assert amend(WHOLE) == WHOLE


@pytest.mark.parametrize(
    ("flag", "value", "why"),
    [
        ("remote", SECRET, "it must be HOST:PORT, an IPv6 address in brackets"),
        ("local", "::1:1", "an IPv6 address must stand in brackets: [::1]:443"),
        ("method", "a b", "the method is not the name of a cipher"),
        ("method", "", "the method is not the name of a cipher"),
        ("password", f"{SECRET}\udcff", "the password cannot be written as UTF-8"),
    ],
)
def test_what_is_given_wrongly_is_named_by_its_flag(
    flag: str, value: str, why: str
) -> None:
    """ER-02, SE-05."""
    with pytest.raises(UsageError) as caught:
        amend(WHOLE, **{flag: value})
    assert str(caught.value) == f"--{flag} is wrong: {why}"


# -- writing ---------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_each_is_written_as_it_should_look(form: str) -> None:
    """OG-12."""
    assert write(WHOLE, form) == TEXTS[form]


def test_each_form_escapes_in_its_own_way() -> None:
    """Demand 7, HQ-10: SIP003's backslash, JSON's second one, a link's percent."""
    line = "webtunnel [2001:db8::1]:443 url=https://e.example/a;b\\c?d=e"
    profile = amend(read(line), method="none", password="")
    assert write(profile, BRIDGE) == line
    assert write(profile, OPTIONS) == (
        r"transport=webtunnel;url=https://e.example/a\;b\\c?d\=e"
    )
    assert (
        r'"plugin_opts": "transport=webtunnel;url=https://e.example/a\\;b\\\\c?d\\=e"'
    ) in write(profile, JSON)
    assert write(profile, LINK) == (
        "ss://bm9uZTo@[2001:db8::1]:443/?plugin=pt-bridge%3Btransport%3Dwebtunnel%3Burl"
        "%3Dhttps%3A%2F%2Fe.example%2Fa%5C%3Bb%5C%5Cc%3Fd%5C%3De"
    )


@pytest.mark.parametrize(
    ("form", "profile", "message"),
    [
        (
            BRIDGE,
            read(OPTIONS_TEXT),
            "a bridge line needs more than this holds: add --remote HOST:PORT",
        ),
        (
            LINK,
            read(OPTIONS_TEXT),
            (
                "a shadowsocks link needs more than this holds: add --remote HOST:PORT "
                "--method NAME --password TEXT"
            ),
        ),
        (
            JSON,
            read(LINE),
            (
                "a shadowsocks configuration needs more than this holds: add --method "
                "NAME --password TEXT"
            ),
        ),
        (
            JSON,
            replace(WHOLE, port=None),
            (
                "a shadowsocks configuration needs more than this holds: add --remote "
                "HOST:PORT"
            ),
        ),
        (
            LINK,
            replace(WHOLE, hosts=("a.example", "b.example")),
            (
                "a shadowsocks link holds one server, and here are 2: choose one with "
                "--remote HOST:PORT"
            ),
        ),
    ],
)
def test_what_is_missing_is_named_by_its_flag(
    form: str, profile: Profile, message: str
) -> None:
    """ER-02."""
    assert missing(profile, form) == message


@pytest.mark.parametrize("form", [BRIDGE, OPTIONS])
@pytest.mark.parametrize("plugin", [None, "obfs-local"])
def test_another_plugins_options_make_neither_bridge_line_nor_options(
    form: str, plugin: str | None
) -> None:
    """ER-03."""
    with pytest.raises(OptionsError, match=r"^this is for another plugin, or for none"):
        write(replace(WHOLE, plugin=plugin), form)


@pytest.mark.parametrize("form", [LINK, JSON])
@pytest.mark.parametrize("plugin", [None, "obfs-local"])
def test_a_link_and_json_are_made_for_any_plugin(form: str, plugin: str | None) -> None:
    """Their options are not ours to judge."""
    profile = replace(WHOLE, plugin=plugin, plugin_opts="obfs=http" if plugin else "")
    profile = replace(profile, local_host="127.0.0.1", local_port=1080)
    again = read(write(profile, form))
    assert (again.plugin, again.plugin_opts) == (plugin, profile.plugin_opts)
    assert notes(profile, form) == []


@pytest.mark.parametrize("form", [BRIDGE, LINK])
def test_a_servers_own_options_are_not_given_to_its_clients(form: str) -> None:
    """FE-06, demand 9."""
    with pytest.raises(OptionsError, match=r"^these are the server's own options"):
        write(SERVERS, form)


def test_a_servers_own_configuration_has_no_port_for_ss_local() -> None:
    """What ss-local needs to start is added for it alone."""
    assert "local_port" not in json.loads(write(SERVERS, JSON))
    assert json.loads(write(WHOLE, JSON))["local_port"] == 1080
    given_half = replace(WHOLE, local_host="::1")
    assert json.loads(write(given_half, JSON))["local_address"] == "::1"
    given_whole = replace(WHOLE, local_port=9)
    assert "local_address" not in json.loads(write(given_whole, JSON))
    assert write(SERVERS, OPTIONS) == "server;transport=obfs4"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            "transport=obfs4;url=a b",
            (
                "a bridge line cannot hold this: argument 1 holds what a bridge line "
                "cannot: only printable ASCII without blanks can stand there"
            ),
        ),
        (
            "idle=5",
            (
                "the plugin options do not name the transport: add transport=obfs4, or "
                "the one that the other side uses"
            ),
        ),
        ("transport=obfs4;cert", "'cert' at column 17 needs a '=' and a value behind"),
    ],
)
def test_what_a_form_cannot_hold_is_refused(options: str, message: str) -> None:
    """ER-03."""
    with pytest.raises(OptionsError) as caught:
        write(replace(WHOLE, plugin_opts=options), BRIDGE)
    assert str(caught.value).startswith(message)


def test_a_bridge_line_within_the_options_is_the_bridge_line() -> None:
    """With the server that shadowsocks has, which is the one that is dialled."""
    line = LINE.replace(" cert", f" {FINGERPRINT} cert")
    profile = replace(WHOLE, plugin_opts=f"idle=5;bridge=Bridge {line}")
    assert write(profile, BRIDGE) == line
    moved = replace(profile, hosts=("2001:db8::2",), port=1)
    assert write(moved, BRIDGE) == line.replace("198.51.100.7:8443", "[2001:db8::2]:1")


# -- what is said beside ---------------------------------------------------------------

NO_ADDRESS = (
    "the address is no part of the options: set shadowsocks's server and server_port "
    "to it"
)


@pytest.mark.parametrize("form", FORMS)
def test_where_nothing_is_lost_nothing_is_said(form: str) -> None:
    assert notes(WHOLE, form) == []


@pytest.mark.parametrize(
    ("form", "profile", "expected"),
    [
        (OPTIONS, read(LINE), [NO_ADDRESS]),
        (OPTIONS, read(OPTIONS_TEXT), []),
        (
            BRIDGE,
            replace(WHOLE, plugin_opts=f"{OPTIONS_TEXT};idle=5;linger=1"),
            ["left out of the bridge line: idle, linger"],
        ),
        (
            LINK,
            replace(WHOLE, others={"timeout": 300, "mode": "tcp_only"}),
            ["left out, since only JSON can hold it: timeout, mode"],
        ),
        (
            LINK,
            replace(WHOLE, others={f"k{number}": 1 for number in range(9)}),
            [
                (
                    "left out, since only JSON can hold it: "
                    "k0, k1, k2, k3, k4, k5, k6, k7, ..."
                )
            ],
        ),
        (JSON, replace(WHOLE, others={"timeout": 300}), []),
        (LINK, replace(WHOLE, fingerprint=FINGERPRINT), [TOR_BRIDGE]),
        (
            LINK,
            replace(
                WHOLE,
                plugin_opts=f"bridge={LINE.replace(' cert', f' {FINGERPRINT} cert')}",
                fingerprint=FINGERPRINT,
            ),
            [TOR_BRIDGE],
        ),
        (
            LINK,
            replace(WHOLE, plugin_opts="transport=obfs4;cert=s3cret;iat-mode=0"),
            [
                (
                    "the value of 'cert' is not 70 characters of base64: was it copied "
                    "whole?"
                )
            ],
        ),
        (
            LINK,
            replace(WHOLE, plugin_opts="transport=obfs4"),
            [
                (
                    "pt-bridge will refuse it: obfs4 needs cert= and iat-mode= in the "
                    "plugin options: copy the server's line (and on the server side, "
                    "add 'server')"
                )
            ],
        ),
        (JSON, SERVERS, []),
    ],
)
def test_what_is_lost_or_will_not_work_is_said(
    form: str, profile: Profile, expected: list[str]
) -> None:
    """And no value of it."""
    write(profile, form)
    assert notes(profile, form) == expected


# -- each into each --------------------------------------------------------------------


@settings(database=None, deadline=None)
@given(
    LINES.map(lambda line: BridgeLine(line.transport, line.address, line.arguments)),
    st.sampled_from(["aes-256-gcm", "2022-blake3-aes-128-gcm", "none"]),
    st.text(max_size=20).filter(is_text),
)
def test_each_is_turned_into_each_and_back_without_loss(
    line: BridgeLine, method: str, password: str
) -> None:
    """Issue 6: with the flags for what one of the two cannot hold."""

    def completed(text: str) -> Profile:
        return amend(
            read(text), remote=str(line.address), method=method, password=password
        )

    profile = completed(str(line))
    texts = {form: write(profile, form) for form in FORMS}
    assert texts[BRIDGE] == str(line)
    for one, other in itertools.permutations(FORMS, 2):
        assert write(completed(texts[one]), other) == texts[other]


@settings(database=None, deadline=None)
@given(
    st.text(max_size=20).filter(is_text),
    st.text(max_size=20).filter(is_text),
    st.lists(st.ip_addresses().map(str), min_size=1, max_size=3),
)
def test_a_link_and_json_say_the_same(
    password: str, name: str, hosts: list[str]
) -> None:
    """And the name of a profile with it."""
    profile = replace(WHOLE, hosts=tuple(hosts), password=password, name=name)
    profile = replace(profile, local_host="127.0.0.1", local_port=1080)
    assert read(write(profile, JSON)) == profile
    one = replace(profile, hosts=profile.hosts[:1], local_host=None, local_port=None)
    assert read(write(one, LINK)) == one
    assert write(read(write(one, JSON)), LINK) == write(one, LINK)
