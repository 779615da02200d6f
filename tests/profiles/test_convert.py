"""The four forms: told apart, read, written, and turned into each other."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pt_bridge.errors import OptionsError, UsageError
from pt_bridge.formats.bridge_line import BridgeLine
from pt_bridge.formats.profile import Profile, is_text
from pt_bridge.options.option_values import TOR_BRIDGE
from pt_bridge.options.own_options import GONE
from pt_bridge.profiles.convert import amend, notes, write
from pt_bridge.profiles.forms import BRIDGE, FORMS, JSON, LINK, OPTIONS
from pt_bridge.profiles.pasted import read
from pt_bridge.protocol.address import Address, is_wildcard
from pt_bridge.text.markup import PAGE
from tests.formats.test_bridge_line import LINES
from tests.support.refusals import refusal_of

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
    """Return the text of the refusal to read, which tells no secret."""
    return refusal_of(OptionsError, lambda: read(text), SECRET)


def missing(profile: Profile, form: str) -> str:
    """Return the text of the refusal to write, which names a flag."""
    with pytest.raises(UsageError) as caught:
        write(profile, form)
    assert caught.value.exit_code == 64
    return str(caught.value)


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
            BRIDGE,
            replace(WHOLE, hosts=("::",)),
            "a bridge line needs more than this holds: add --remote HOST:PORT",
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
                    "pt-bridge will refuse it: the value of 'cert' must be 70 "
                    "characters of base64, and has 6 characters: was it copied whole?"
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


@pytest.mark.parametrize(
    ("transport", "keyword"),
    [
        ("obfs4", ""),
        ("tomorrow", ""),
        *((name, "Bridge ") for name in ("IP", "is", "To", "server", "tcp")),
        *((name, "Bridge ") for name in ("CMETHOD", "external", "ServerTransportX")),
    ],
)
@pytest.mark.parametrize("arguments", ["", ";k=v", ";address=a;port=1"])
def test_a_transport_that_is_called_like_a_word_stands_behind_bridge(
    transport: str, keyword: str, arguments: str
) -> None:
    """Or nobody would take the line for one."""
    options = f"transport={transport}{arguments}"
    profile = replace(WHOLE, plugin_opts=options, method=None, password=None)
    line = write(profile, BRIDGE)
    assert line.startswith(f"{keyword}{transport} 198.51.100.7:8443")
    assert read(line) == profile


# -- each into each --------------------------------------------------------------------

# What has the end of an element of a page is taken for one.
PASSWORDS = st.text(max_size=20).filter(
    lambda text: is_text(text) and not PAGE.search(text)
)


def _can_be_any_other(line: BridgeLine) -> bool:
    """Whether this is a client's line, and has nothing of a page's, nor of 0.1's."""
    keys = {key for key, _ in line.arguments}
    is_plain = not set("<&") & set(str(line))
    return is_plain and not is_wildcard(line.address.host) and not keys & GONE.keys()


@settings(database=None, deadline=None)
@given(
    LINES.filter(_can_be_any_other).map(
        lambda line: BridgeLine(line.transport, line.address, line.arguments)
    ),
    st.sampled_from(["aes-256-gcm", "2022-blake3-aes-128-gcm", "none"]),
    PASSWORDS,
)
@example(BridgeLine("a", Address("a.example", 1), [("k", "<b>")]), "none", "x<b>y")
def test_each_is_turned_into_each_and_back_without_loss(
    line: BridgeLine, method: str, password: str
) -> None:
    """With the flags for what one of the two cannot hold."""

    def completed(text: str) -> Profile:
        return amend(
            read(text), remote=str(line.address), method=method, password=password
        )

    profile = completed(f"Bridge {line}")
    texts = {form: write(profile, form) for form in FORMS}
    assert texts[BRIDGE].removeprefix("Bridge ") == str(line)
    for one, other in itertools.permutations(FORMS, 2):
        assert write(completed(texts[one]), other) == texts[other]


@settings(database=None, deadline=None)
@given(
    PASSWORDS,
    PASSWORDS,
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


def test_another_plugin_around_the_pt_is_kept_in_every_form_that_can_hold_it() -> None:
    """OG-12: its options stand in a value of ours."""
    via = "via=obfs-local;via-opts=obfs\\=http\\;obfs-host\\=a.example"
    profile = amend(
        read(f"transport=obfs3;{via}"),
        remote="192.0.2.1:443",
        method="aes-128-gcm",
        password="secret",
    )
    for form in (OPTIONS, LINK, JSON):
        assert read(write(profile, form)).plugin_opts.endswith(via)
    assert "left out of the bridge line: via, via-opts" in notes(profile, BRIDGE)
