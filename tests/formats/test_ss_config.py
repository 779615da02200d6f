"""shadowsocks's config.json."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pt_bridge.errors import ProtocolError
from pt_bridge.formats.json_text import MAX_LENGTH, NOT_JSON
from pt_bridge.formats.profile import Profile, is_text
from pt_bridge.formats.ss_config import KEYS, MAX_HOSTS, parse, serialize
from tests.support.refusals import refusal_of

SECRET = "s3cret"
SERVER = {"server": "192.0.2.1", "server_port": 8388}


def refusal(text: str) -> str:
    """Return the text of the refusal, which tells no secret."""
    return refusal_of(ProtocolError, lambda: parse(text), SECRET)


def read(**values: Any) -> Profile:
    return parse(json.dumps(values))


# -- reading ---------------------------------------------------------------------------


def test_a_configuration_tells_of_server_plugin_and_local_end() -> None:
    """As in the README, and in the manual of ss-local."""
    assert read(
        **SERVER,
        local_address="127.0.0.1",
        local_port=1080,
        method="aes-256-gcm",
        password='p"\\',
        plugin="pt-bridge",
        plugin_opts=r"transport=webtunnel;url=https://e/a\;b",
        remarks="mine",
        timeout=300,
        fast_open=True,
        nested={"a": [1, None]},
    ) == Profile(
        hosts=("192.0.2.1",),
        port=8388,
        local_host="127.0.0.1",
        local_port=1080,
        method="aes-256-gcm",
        password='p"\\',
        plugin="pt-bridge",
        plugin_opts=r"transport=webtunnel;url=https://e/a\;b",
        name="mine",
        others={"timeout": 300, "fast_open": True, "nested": {"a": [1, None]}},
    )


@pytest.mark.parametrize(
    ("server", "hosts"),
    [
        ("a.example", ("a.example",)),
        ("[2001:DB8::1]", ("2001:db8::1",)),
        ("::0", ("::",)),
        (["::1", "192.0.2.1", "A.example"], ("::1", "192.0.2.1", "a.example")),
        ([], ()),
        ("", ()),
        (None, ()),
        ([None, "192.0.2.1"], ("192.0.2.1",)),
    ],
)
def test_a_server_may_have_several_addresses(
    server: object, hosts: tuple[str, ...]
) -> None:
    """FE-03: shadowsocks-libev joins them with '|'."""
    assert read(server=server, server_port=1).hosts == hosts


@pytest.mark.parametrize(
    ("port", "expected"), [(8388, 8388), ("8388", 8388), (None, None)]
)
def test_a_port_may_be_a_number_or_text(
    port: int | str | None, expected: int | None
) -> None:
    """shadowsocks-libev takes both."""
    profile = read(server_port=port, local_port=port)
    assert (profile.port, profile.local_port) == (expected, expected)


def test_what_is_not_told_is_none_or_empty() -> None:
    """An empty plugin is none: so ss-libev reads it."""
    assert read(server="a.b", plugin="", plugin_opts=None) == Profile(hosts=("a.b",))
    assert read(password="").password == ""


@pytest.mark.parametrize(
    "value",
    [
        {"servers": [{**SERVER, "password": "p"}], "local_port": 1080},
        {"servers": [{"address": "192.0.2.1", "port": 8388, "password": "p"}]},
        {"servers": [{**SERVER, "password": "p"}], "password": "of another"},
        {"servers": [{**SERVER, "port": 1, "address": "b"}], "password": "p"},
        [{**SERVER, "password": "p"}],
    ],
)
def test_one_server_may_stand_in_a_list(value: Any) -> None:
    """shadowsocks-rust, SIP008, and what the Android app exports."""
    profile = parse(json.dumps(value))
    assert (profile.hosts, profile.port) == (("192.0.2.1",), 8388)
    assert profile.password == "p"
    assert "servers" not in profile.others


def test_a_file_of_another_programs_is_read_where_it_holds_one_server() -> None:
    """Its own settings are left out, and that is told."""
    profile = read(configs=[{**SERVER, "password": "p"}], index=0, localPort=1080)
    assert (profile.hosts, profile.local_port) == (("192.0.2.1",), 1080)
    assert profile.notes == (
        "left out: what else this file of shadowsocks-windows's says",
    )
    assert profile.others == {}


def test_a_list_of_ports_and_passwords_may_have_one() -> None:
    """As ss-manager and the old servers have it."""
    profile = read(server="192.0.2.1", port_password={"8388": "p"})
    assert (profile.port, profile.password, profile.others) == (8388, "p", {})
    ports = {"port_password": {"1": "s3cret", "2": "s3cret"}}
    assert read(**SERVER, password="p", **ports).others == ports
    assert refusal(json.dumps({**SERVER, **ports})) == (
        "it has 2 servers: leave one in it"
    )


@pytest.mark.parametrize("password", [0, 12345678, 2**31 - 1])
def test_a_password_may_be_a_number(password: int) -> None:
    """shadowsocks-libev reads it as its digits; shadowsocks-rust does not."""
    profile = read(**SERVER, password=password)
    assert profile.password == str(password)
    assert "shadowsocks-libev alone" in profile.notes[0]


@pytest.mark.parametrize(
    ("server", "port", "hosts"),
    [
        ("192.0.2.1:8388", None, ("192.0.2.1",)),
        ("[2001:db8::1]:8388", "8388", ("2001:db8::1",)),
        (["a.example:8388", "192.0.2.1"], 8388, ("a.example", "192.0.2.1")),
    ],
)
def test_a_port_may_stand_behind_the_server(
    server: object, port: object, hosts: tuple[str, ...]
) -> None:
    """shadowsocks-libev reads it; but what it starts a plugin with is server_port."""
    profile = read(server=server, server_port=port)
    assert (profile.hosts, profile.port) == (hosts, 8388)
    assert profile.notes == ("the port in 'server' belongs in 'server_port'",)


BRACES = "a server in it must stand in braces: { ... }"
NOTHING = "it has nothing of shadowsocks's: no server, no password"
WRONG = {
    f"it is broken at line 1, column 1: {NOT_JSON}": ["", "s3cret"],
    "it has 2 servers: leave one in it": [
        '{"servers": [{"server": "s3cret"}, {}]}',
        '[{"server": "s3cret"}, {"server": 1}]',
    ],
    "it has 0 servers: leave one in it": ['{"servers": []}'],
    BRACES: ['{"servers": "s3cret"}', "[1]"],
    NOTHING: [
        *('"s3cret"', "1", "null", '["s3cret"]', "{}", '{"s3cret": "s3cret"}', "[]"),
    ],
    "'server' in it must be text between quotes": ['{"server": 1}', '{"server": [{}]}'],
    "'password' in it must be text between quotes": [
        *('{"password": ["s3cret"]}', '{"password": 1.5}', '{"password": true}'),
        *('{"password": 2147483648}', '{"password": -1}'),
    ],
    "the key 'plugin-opts' in it must be written 'plugin_opts': as it is, shadowsocks "
    "passes over it": ['{"server": "s3cret", "plugin-opts": "s3cret"}'],
    "the key 'pluginOptions' in it must be written 'plugin_opts': as it is, "
    "shadowsocks passes over it": ['{"server": "s3cret", "pluginOptions": "s3cret"}'],
    "the key 'serverPort' in it must be written 'server_port': as it is, shadowsocks "
    "passes over it": ['{"server": "s3cret", "serverPort": 1}'],
    "'server' in it has another port than 'server_port'": [
        '{"server": "192.0.2.1:1", "server_port": 2}',
        '{"server": ["192.0.2.1:1", "192.0.2.2:2"]}',
    ],
    "'server' in it is wrong: it must be a port from 1 to 65535": [
        '{"server": "192.0.2.1:0"}'
    ],
    "'server' in it is wrong: it must be a host alone: leave out 'http://' before it": [
        '{"server": "http://s3cret.example"}'
    ],
    "'server' in it is wrong: it must be a valid host name or IP address": [
        '{"server": "s3 cret"}',
        '{"server": ["a.b", "s3 cret"]}',
    ],
    "'local_address' in it is wrong: it must be a valid host name or IP address": [
        '{"local_address": "s3 cret"}'
    ],
    f"'server' in it has more than {MAX_HOSTS} addresses": [
        json.dumps({"server": ["s3cret"] * (MAX_HOSTS + 1)})
    ],
    "'server_port' in it is wrong: it must be a port from 1 to 65535": [
        *('{"server_port": 0}', '{"server_port": true}', '{"server_port": 1.5}'),
        *('{"server_port": "s3cret"}', '{"server_port": [1]}', '{"server_port": -1}'),
    ],
    "the method is not the name of a cipher": ['{"method": "s3 cret"}'],
    "the password cannot be written as UTF-8": ['{"password": "s3cret\\ud800"}'],
    "the plugin's name is empty, or has a ';' in it": ['{"plugin": "s3cret;"}'],
    f"it is longer than {MAX_LENGTH} characters": ["s3cret" * MAX_LENGTH],
}


@pytest.mark.parametrize(
    ("text", "message"),
    [(text, message) for message, texts in WRONG.items() for text in texts],
    ids=lambda value: value[:60],
)
def test_whatever_is_no_configuration_is_refused_with_the_reason(
    text: str, message: str
) -> None:
    """ER-03, SE-05: where it is broken, and no value."""
    assert refusal(text) == message


def test_the_longest_configuration_is_read() -> None:
    """SE-10: a limit that is tested on both of its sides."""
    text = json.dumps(SERVER).ljust(MAX_LENGTH)
    assert parse(text).port == 8388
    assert refusal(f"{text} ").startswith("it is longer than")


# -- writing ---------------------------------------------------------------------------


def test_a_configuration_is_written_for_people_with_each_backslash_twice() -> None:
    """HQ-10, OG-12."""
    profile = Profile(
        hosts=("2001:db8::1",),
        port=443,
        local_port=1080,
        method="aes-256-gcm",
        password='\u00fc"',
        plugin="pt-bridge",
        plugin_opts=r"transport=webtunnel;url=https://e/a\;b\\c",
        others={"timeout": 300},
    )
    assert serialize(profile) == (
        "{\n"
        '    "server": "2001:db8::1",\n'
        '    "server_port": 443,\n'
        '    "local_port": 1080,\n'
        '    "method": "aes-256-gcm",\n'
        '    "password": "\\u00fc\\"",\n'
        '    "plugin": "pt-bridge",\n'
        '    "plugin_opts": "transport=webtunnel;url=https://e/a\\\\;b\\\\\\\\c",\n'
        '    "timeout": 300\n'
        "}"
    )


def test_several_servers_are_written_as_a_list() -> None:
    """FE-03."""
    profile = Profile(hosts=("::1", "a.example"), port=1)
    assert json.loads(serialize(profile)) == {
        "server": ["::1", "a.example"],
        "server_port": 1,
    }


TEXTS = st.text(max_size=20).filter(is_text)


def values(each: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return arrays and objects of such values."""
    return st.lists(each, max_size=3) | st.dictionaries(TEXTS, each)


def configs(each: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return arrays of such values, and objects with the keys that mean something."""
    keys = st.sampled_from([*KEYS, "servers", "address", "x"])
    return st.lists(each, max_size=3) | st.dictionaries(keys, each)


HOSTS = st.ip_addresses().map(str) | st.sampled_from(["a.example", "localhost"])
PROFILES = st.builds(
    Profile,
    hosts=st.lists(HOSTS, min_size=1, max_size=MAX_HOSTS).map(tuple),
    port=st.none() | st.integers(1, 65535),
    method=st.none() | st.sampled_from(["aes-256-gcm", "2022-blake3-aes-128-gcm"]),
    password=st.none() | TEXTS,
    plugin=st.none() | st.sampled_from(["pt-bridge", "/opt/pt-bridge", "obfs-local"]),
    plugin_opts=TEXTS,
    name=TEXTS,
    local_host=st.none() | HOSTS,
    local_port=st.none() | st.integers(1, 65535),
    others=st.dictionaries(
        st.text(max_size=9).filter(lambda key: key not in KEYS),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=9),
            values,
            max_leaves=5,
        ),
        max_size=3,
    ),
)


@settings(database=None, deadline=None)
@given(PROFILES)
def test_parsing_undoes_writing(profile: Profile) -> None:
    """OG-12: whatever the password, the options and what pt-bridge does not know."""
    assert parse(serialize(profile)) == profile


@settings(database=None, deadline=None)
@given(
    st.text(max_size=30)
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=9),
        configs,
        max_leaves=9,
    ).map(json.dumps)
)
def test_only_a_protocol_error_ever_comes_out(text: str) -> None:
    """And what is read can be written and read again."""
    try:
        profile = parse(text)
    except ProtocolError:
        return
    if profile != Profile(others=profile.others):
        assert parse(serialize(profile)) == profile


def test_a_password_may_look_like_plugin_options() -> None:
    """Only what stands under a key that shadowsocks passes over is missed there."""
    text = '{"server": "192.0.2.1", "server_port": 1, "password": "transport=obfs4"}'
    assert parse(text).password == "transport=obfs4"
