"""Whatever people paste: read where it is one thing, counted or named otherwise."""

from __future__ import annotations

import base64
import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pt_bridge.errors import OptionsError
from pt_bridge.formats.profile import Profile
from pt_bridge.profiles.forms import TEXT_AROUND
from pt_bridge.profiles.pasted import NO_PLUGIN, read
from pt_bridge.profiles.unknown import NOTHING
from tests.support.refusals import refusal_of

SECRET = "s3cret"
CERT = "AAAA" * 17 + "AA"
FINGERPRINT = "0BAC39417268B96B9F514E7F63FA6FBA1A788955"
LINE = f"obfs4 198.51.100.7:8443 cert={CERT} iat-mode=0"
OTHER = LINE.replace("198.51.100.7", "203.0.113.7")
OPTIONS = f"transport=obfs4;cert={CERT};iat-mode=0"
LINK = "ss://YWVzLTI1Ni1nY206cEBzczp3b3Jk@198.51.100.7:8443"
SERVER = {
    "server": "198.51.100.7",
    "server_port": 8443,
    "method": "aes-256-gcm",
    "password": "p@ss:word",
}
# As Xray and V2Ray have it.
XRAY = {
    "protocol": "shadowsocks",
    "settings": {
        "servers": [
            {
                "address": SERVER["server"],
                "port": SERVER["server_port"],
                "method": SERVER["method"],
                "password": SERVER["password"],
            }
        ]
    },
}
PART = json.dumps(SERVER)[1:-1]
COMMAND = "ss-local -s 198.51.100.7 -p 8443 -m aes-256-gcm -k p@ss:word"
PLAIN = Profile(
    hosts=("198.51.100.7",), port=8443, method="aes-256-gcm", password="p@ss:word"
)
WHOLE = replace(PLAIN, plugin="pt-bridge", plugin_opts=OPTIONS)
BRIDGE = replace(WHOLE, method=None, password=None)
ONLY_OPTIONS = Profile(plugin="pt-bridge", plugin_opts=OPTIONS)


BEHIND_PLUGIN = "the options in 'plugin' belong in 'plugin_opts'"
NO_NAME = "the plugin's options come without its name: pt-bridge's, perhaps"
SLIPS = {"host": "server", "port": "server_port", "pass": "password"}


def refusal(text: str) -> str:
    """Return the text of the refusal to read, which tells no secret."""
    return refusal_of(OptionsError, lambda: read(text), SECRET)


# -- one thing -------------------------------------------------------------------------

IN_SILENCE = {
    LINE: BRIDGE,
    f"Bridge {LINE}": BRIDGE,
    f'"{LINE}",': BRIDGE,
    f"# obfs4 torrc client bridge line\n\nBridge {LINE}": BRIDGE,
    f"['{LINE}']": BRIDGE,
    f"```\n{LINE}\n```": BRIDGE,
    f"<p>{LINE.replace('AAAA', '&#65;AAA', 1)}<br/>": BRIDGE,
    f"1. {LINE}": BRIDGE,
    f"Bridge: {LINE}": BRIDGE,
    f"SMETHOD obfs4 198.51.100.7:8443 ARGS:cert={CERT},iat-mode=0": BRIDGE,
    json.dumps([LINE]): BRIDGE,
    json.dumps({"settings": [{"bridges": {"bridge_strings": [LINE]}}]}): BRIDGE,
    f"bridge:{LINE.replace(' ', '%20')}": BRIDGE,
    LINE.replace(" cert", f" {FINGERPRINT} cert"): replace(
        BRIDGE, fingerprint=FINGERPRINT
    ),
    OPTIONS: ONLY_OPTIONS,
    f'"{OPTIONS}"\r\n': ONLY_OPTIONS,
    OPTIONS.replace(";", ";\n"): ONLY_OPTIONS,
    OPTIONS.replace(";", "\n"): ONLY_OPTIONS,
    f"# For the clients of this server\n{OPTIONS}\n": ONLY_OPTIONS,
    f"pt-bridge;{OPTIONS}": ONLY_OPTIONS,
    f"plugin=/usr/bin/pt-bridge;{OPTIONS}": ONLY_OPTIONS,
    OPTIONS.replace("=", "%3D").replace(";", "%3B"): ONLY_OPTIONS,
    f"&lt;li&gt;{LINE}&lt;/li&gt;": BRIDGE,
    "{server: 198.51.100.7, server_port: 8443, method: aes-256-gcm, "
    "password: 'p@ss:word'}": PLAIN,
    json.dumps(COMMAND.split()): PLAIN,
    base64.b64encode(f"x=y\n{LINK}\n".encode()).decode(): None,
    f"{LINK}#\u2764\ufe0f\u200d\U0001f525": replace(
        PLAIN, name="\u2764\ufe0f\u200d\U0001f525"
    ),
    json.dumps({**SERVER, "remarks": "\u2764\ufe0f"}): replace(
        PLAIN, name="\u2764\ufe0f"
    ),
    f'"plugin_opts": "{OPTIONS}",': ONLY_OPTIONS,
    f"option plugin_opts '{OPTIONS}'": ONLY_OPTIONS,
    f"plugin_opts: {OPTIONS}": ONLY_OPTIONS,
    f"export SS_PLUGIN_OPTIONS='{OPTIONS}'": ONLY_OPTIONS,
    "server": Profile(plugin="pt-bridge", plugin_opts="server"),
    "transport=webtunnel;url=ss://e/{a}": Profile(
        plugin="pt-bridge", plugin_opts="transport=webtunnel;url=ss://e/{a}"
    ),
    f"bridge=Bridge {LINE};idle=60\n": replace(
        BRIDGE, plugin_opts=f"bridge=Bridge {LINE};idle=60"
    ),
    f"plugin_opts: bridge={LINE}": replace(BRIDGE, plugin_opts=f"bridge={LINE}"),
    LINK: PLAIN,
    f"\ufeff {LINK.replace('ss', 'SS', 1)}": PLAIN,
    f"{LINK}/?a=1&amp;plugin=pt-bridge%3B{OPTIONS}": None,
    base64.b64encode(f"{LINK}\n".encode()).decode(): PLAIN,
    base64.b64encode(b"aes-256-gcm:p@ss:word@198.51.100.7:8443").decode(): PLAIN,
    json.dumps(SERVER): PLAIN,
    f"\ufeff\n{{{PART},}} // mine": PLAIN,
    f"[{{{PART}}}]": PLAIN,
    PART: PLAIN,
    f"{PART},\n": PLAIN,
    PART.replace(", ", ",\n"): PLAIN,
    PART.replace(", ", "\n"): PLAIN,
    f"```json\n{{{PART}}}\n```": PLAIN,
    json.dumps(json.dumps(SERVER)): PLAIN,
    json.dumps({"config": SERVER}): PLAIN,
    json.dumps(XRAY): PLAIN,
    json.dumps({"outbounds": [XRAY]}): PLAIN,
    json.dumps({"id": "0", "password": "x", "port": 1, "accessUrl": LINK}): PLAIN,
    json.dumps({**SERVER, "server": " 198.51.100.7 ", "server_port": "8443 "}): PLAIN,
    f"ss://{base64.b64encode(b'aes-256-gcm:p@ss:word@198.51.100.7:8443#n').decode()}": (
        replace(PLAIN, name="n")
    ),
    "server: 198.51.100.7\nport: 8443\ncipher: aes-256-gcm\npassword: p@ss:word": PLAIN,
    f"sslocal -s 198.51.100.7:8443 -m aes-256-gcm -k p@ss:word --plugin pt-bridge "
    f"--plugin-opts '{OPTIONS}'": WHOLE,
    f"sslocal --server-url {LINK} -b [::1]:1080": replace(
        PLAIN, local_host="::1", local_port=1080
    ),
}


@pytest.mark.parametrize("text", IN_SILENCE)
def test_one_thing_is_read_in_every_form(text: str) -> None:
    profile = read(text)
    expected = IN_SILENCE[text]
    if expected is not None:
        assert profile == expected
        assert profile.notes == ()


AROUND = {
    f"Your bridge is {LINE}": BRIDGE,
    f'user_pref("torbrowser.settings.bridges.bridge_strings.0", "{LINE}");': BRIDGE,
    f"UseBridges 1\nClientTransportPlugin obfs4 exec /x\nBridge {LINE}\n": BRIDGE,
    f"use {OPTIONS} there": ONLY_OPTIONS,
    f"({OPTIONS})": ONLY_OPTIONS,
    f"my server is {LINK}#x": replace(PLAIN, name="x"),
    f"{LINK}\nHello": PLAIN,
    f"here it is:\n{{{PART}}}\nbye": PLAIN,
    f"cat > x.json <<EOF\n{{\n{PART}\n}}\nEOF": PLAIN,
    "server: 198.51.100.7\nport: 8443\ncipher: aes-256-gcm\npassword: p@ss:word\n"
    "Enjoy!": PLAIN,
    json.dumps({"note": "mine:", "bridges": [LINE]}): BRIDGE,
}


@pytest.mark.parametrize("text", AROUND)
def test_what_stands_around_it_is_left_out_and_that_is_told(text: str) -> None:
    profile = read(text)
    assert profile == AROUND[text]
    assert profile.notes == (TEXT_AROUND,)


@pytest.mark.parametrize(
    ("text", "notes"),
    [
        (f"{LINK}#A\nvmess://{SECRET}", ["left out: a vmess:// link"]),
        (
            f"ss-local -s 198.51.100.7 -p 8443 --acl /{SECRET} -u",
            ["left out of the command: --acl -u"],
        ),
        (json.dumps({**SERVER, "plugin_opts": OPTIONS}), [NO_PLUGIN]),
        *(
            (json.dumps({**SERVER, "plugin": plugin}), [BEHIND_PLUGIN])
            for plugin in (f"pt-bridge;{OPTIONS}", f"pt-bridge {OPTIONS}")
        ),
        (json.dumps({**SERVER, "plugin": OPTIONS}), [NO_NAME]),
        (f"{LINK}?plugin={OPTIONS.replace(';', '%3B')}", [NO_NAME]),
        (
            json.dumps({"host": "198.51.100.7", "port": 8443, "pass": "x"}),
            [
                f"'{slip}' in it must be written '{key}': as it is, shadowsocks passes "
                f"over it"
                for slip, key in SLIPS.items()
            ],
        ),
        (
            json.dumps({"servers": [SERVER, {**SERVER, "disabled": True}]}),
            ["left out: what is disabled in it"],
        ),
        *(
            (
                f"obfs4 198.51.100.7:8443 cert=x{mark}iat-mode=0",
                [
                    (
                        "the value of 'cert' holds another argument: a blank stands "
                        "between two, and no ',' or ';'"
                    )
                ],
            )
            for mark in ",;"
        ),
        (
            OPTIONS.replace("=", " = ").replace(";", "; "),
            ["left out: the blanks around '=' and ';'"],
        ),
        (
            f"SERVER_ADDR: 198.51.100.7\nPORT: 1\nARGS: --plugin-opts {OPTIONS}",
            [TEXT_AROUND],
        ),
        (
            "SMETHOD obfs3 0.0.0.0:443",
            [
                (
                    "left out: an address that stands for all of the server's: add "
                    "--remote with the server's own, and port 443"
                )
            ],
        ),
        (
            json.dumps({"configs": [SERVER], "index": 0}),
            ["left out: what else this file of shadowsocks-windows's says"],
        ),
        (
            f"https://e.example/invite/{LINK.replace(':', '%3A').replace('/', '%2F')}",
            ["left out: an https:// link"],
        ),
    ],
)
def test_what_is_lost_is_told(text: str, notes: list[str]) -> None:
    """By its name, and no value of it."""
    profile = read(text)
    assert list(profile.notes) == notes
    assert profile.plugin_opts == OPTIONS or CERT not in text


@pytest.mark.parametrize("plugin", ["obfs-local", "v2ray-plugin"])
def test_another_plugins_options_are_left_alone(plugin: str) -> None:
    text = f"plugin: {plugin}\nplugin_opts: obfs=http\nserver: a.example"
    profile = read(text)
    assert (profile.plugin, profile.plugin_opts) == (plugin, "obfs=http")


# -- several, and none -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (f"{LINE}\n{OTHER}", "2 bridge lines"),
        (f"['{LINE}', '{OTHER}']", "2 bridge lines"),
        (json.dumps({"data": [{"bridges": [LINE, OTHER]}]}), "2 bridge lines"),
        (f"{LINK}#A\n{LINK}#B", "2 links"),
        (f"{LINK}#A {LINK}#B", "2 links"),
        (base64.b64encode(f"{LINK}#A\n{LINK}#B".encode()).decode(), "2 links"),
        (f"{LINK}#A\n\n{LINE}\n{OTHER}", "1 link and 2 bridge lines"),
        (f"use {OPTIONS} or {OPTIONS};idle=5 there", "2 strings of plugin options"),
        ("ss-server -s a -p 1\nss-local -s a -p 1", "2 commands"),
    ],
)
def test_several_things_are_counted(text: str, what: str) -> None:
    """Nothing is swallowed: two links were one, with the second in its name."""
    assert refusal(text) == f"these are {what}: give one"


CONFIGURATION = "this shadowsocks configuration is wrong:"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ssr://s3cret", "that is an ssr:// link: ShadowsocksR, another protocol"),
        (
            "vmess://s3cret\nssr://s3cret",
            "that is a vmess:// link (and an ssr:// link): another protocol",
        ),
        (
            "bridge:obfs4+s3cret",
            (
                "that is a bridge: link: give the bridge line that stands in it, with "
                "blanks between its words"
            ),
        ),
        (FINGERPRINT, "that is a fingerprint alone: give the whole bridge line"),
        (
            "obfs4",
            "that is the name of a transport alone: give transport=obfs4;...",
        ),
        (
            f"#Bridge {LINE}",
            "the bridge line in it is commented out: take the '#' before it away",
        ),
        (
            "ORPort 9001\nServerTransportListenAddr obfs4 0.0.0.0:443",
            (
                "that is a torrc without the bridge line of a transport: give the line "
                "'Bridge obfs4 ...', if there is one"
            ),
        ),
        (
            "198.51.100.7:443 s3cret",
            (
                "this bridge line is wrong: it names no transport: a bridge without "
                "one is a plain Tor relay, which is no way to a shadowsocks server"
            ),
        ),
        (
            "Bridge 198.51.100.7:443",
            (
                "this bridge line is wrong: it names no transport: a bridge without "
                "one is a plain Tor relay, which is no way to a shadowsocks server"
            ),
        ),
        (
            "obfs4 cert=s3cret",
            ("this bridge line is wrong: no address, IP:PORT, follows the transport"),
        ),
        (
            "obfs4 198.51.100.7:443 cert=s3 cret iat-mode=0",
            (
                "this bridge line is wrong: argument 2 is not key=value: give one "
                "bridge line, whole, and no line break inside a word"
            ),
        ),
        (
            "transport:obfs4;cert=s3cret",
            "'transport:' at column 1 must be 'transport=': write transport=obfs4",
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
            f"bridge={LINE} {OTHER}",
            "bridge= holds 2 bridge lines: write bridge= for each",
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
            "ss://s3cret@h:1\nHello",
            (
                "this shadowsocks link is wrong: method and password are not base64 in "
                "it: was it copied whole?"
            ),
        ),
        (
            "ss-local -c s3cret.json",
            (
                "this command is wrong: what it says stands in the file behind -c: "
                "give that file's name"
            ),
        ),
        (
            "server: s3cret\nport: 1\nserver: s3cre7\nport: 1",
            "this text is wrong: it has 2 servers: leave one in it",
        ),
        (
            '{"server": "s3cret" "password": 1}',
            (
                f"{CONFIGURATION} it is broken at line 1, column 21: there is no ',' "
                "before it, or a '\"' too many"
            ),
        ),
        (
            json.dumps({"configs": [SERVER, SERVER]}),
            f"{CONFIGURATION} it has 2 servers: leave one in it",
        ),
        (
            '{"a": "s3cret"}',
            f"{CONFIGURATION} it has nothing of shadowsocks's: no server, no password",
        ),
        (
            '{"server": "a", "plugin-opts": "s3cret"}',
            (
                f"{CONFIGURATION} the key 'plugin-opts' in it must be written "
                "'plugin_opts': as it is, shadowsocks passes over it"
            ),
        ),
        *(
            (
                json.dumps({**SERVER, "plugin": "pt-bridge", key: value}),
                (
                    f"{CONFIGURATION} the key '{key}' in it must be written "
                    f"'plugin_opts': as it is, shadowsocks passes over it"
                ),
            )
            for key, value in (
                ("opts", OPTIONS),
                ("plguin_opts", OPTIONS),
                ("plugin_args", [OPTIONS]),
            )
        ),
        (
            '{"apiUrl": "https://h/s3cret", "certSha256": "00"}',
            (
                f"{CONFIGURATION} it is the key with which Outline manages a server: "
                "keep it to yourself, and give one of the access keys, which begin "
                "with ss://"
            ),
        ),
        (
            "proxies:\n- name: x\n  type: vmess\n  server: s3cret\n  port: 1",
            (
                "this text is wrong: the server in it is for vmess, and not for "
                "shadowsocks"
            ),
        ),
        (
            f"{LINK}-8450",
            (
                "this shadowsocks link is wrong: it has several ports: shadowsocks has "
                "one, so leave one"
            ),
        ),
        *(
            (
                LINK.replace("ss://", start),
                (
                    "that is no shadowsocks link, which begins with ss://: was it "
                    "copied whole?"
                ),
            )
            for start in ("ss:/", "ss//", "ss:", "shadowsocks://")
        ),
        (
            "a = Shadowsocks,198.51.100.7,8443,aes-256-gcm,s3cret",
            (
                "that is a line of Surge's, Loon's or Quantumult X's: let the program "
                "share the server as an ss:// link"
            ),
        ),
        (
            '[[client]]\nremote = "198.51.100.7:1"\n',
            (
                "that is a file for 'pt-bridge run': its 'remote' is the server, and "
                "what else a table of it says are the plugin options"
            ),
        ),
        (
            LINE.replace(":8443", "\uff1a8443"),
            (
                "this bridge line is wrong: it has a '\uff1a' that only looks like "
                "':': write that, in its place"
            ),
        ),
        (
            LINE.replace("iat-", "iat\u2013"),
            (
                "this bridge line is wrong: it has a '\u2013' that only looks like "
                "'-': write that, in its place"
            ),
        ),
        ("transport=obfs4;cert=s3cret\udcff", "this is not text in UTF-8"),
        ("transport=obfs4;cert=s3cret\0", "this is not text in UTF-8"),
        *((text, NOTHING) for text in ("", " \n", '""', SECRET, "#", "a b c", "8388")),
        ('"a": "s3cret"', NOTHING),
        ("Bridge obfs4", None),
    ],
)
def test_what_is_something_else_or_broken_is_called_by_its_name(
    text: str, message: str | None
) -> None:
    """ER-03, SE-05."""
    found = refusal(text)
    if message is not None:
        assert found == message


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
                *("\n", "server: ", "port: 1", "ss-local -s ", "-k", "SMETHOD ", "'"),
                *("vmess://", "option plugin_opts ", "bridge:", "%20", "//", "-"),
            ]
        ),
        max_size=12,
    ).map("".join)
)
def test_only_an_error_of_the_options_ever_comes_out(text: str) -> None:
    try:
        read(text)
    except OptionsError:
        return
