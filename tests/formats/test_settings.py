"""Settings of a server, one a line."""

from __future__ import annotations

import pytest

from pt_bridge.errors import ProtocolError
from pt_bridge.formats.settings import find

OPTIONS = "transport=obfs4;cert=A/+;iat-mode=0"
SERVER = {"server": "192.0.2.1", "server_port": "8388"}


@pytest.mark.parametrize(
    ("text", "values"),
    [
        (f"plugin_opts: {OPTIONS}", {"plugin_opts": OPTIONS}),
        (f'  plugin-opts: "{OPTIONS}" # x', {"plugin_opts": OPTIONS}),
        (f"plugin_opts: {OPTIONS} # x", {"plugin_opts": OPTIONS}),
        (f"option plugin_opts '{OPTIONS}'", {"plugin_opts": OPTIONS}),
        (f"export SS_PLUGIN_OPTIONS='{OPTIONS}'", {"plugin_opts": OPTIONS}),
        (f'Environment="SS_PLUGIN_OPTIONS={OPTIONS}"', {"plugin_opts": OPTIONS}),
        (f"uci set ss.@server[0].plugin_opts='{OPTIONS}'", {"plugin_opts": OPTIONS}),
        (f'  "plugin_opts": "{OPTIONS}",', {"plugin_opts": OPTIONS}),
        ("server: 192.0.2.1\nport: 8388\n", SERVER),
        ("# x\n\n[config]\nserver=192.0.2.1\nserver_port = 8388", SERVER),
        (
            "config server 'a'\n\toption server '192.0.2.1'\n\toption server_port 8388",
            {"server": "192.0.2.1", "server_port": "8388"},
        ),
        ("Your Server IP      :  192.0.2.1 \n Your Server Port   :  8388", SERVER),
        ("remote = '192.0.2.1'\nport = \"8388\" # x", SERVER),
        (
            "server: 192.0.2.1\nport: 8388\npassword: 'it''s' # x",
            {**SERVER, "password": "it's"},
        ),
        (
            'server: 192.0.2.1\nport: 8388\npassword: "a\\"b",',
            {**SERVER, "password": 'a"b'},
        ),
        (
            'server: 192.0.2.1\nport: 8388\npassword: ab"',
            {**SERVER, "password": 'ab"'},
        ),
        ("1. IP: 192.0.2.1\n2. PORT: 8388", SERVER),
        ("* server: 192.0.2.1\n* server: 192.0.2.1\n* Port: 8388", SERVER),
        (
            "proxies:\n- name: a\n  type: ss\n  server: '192.0.2.1'\n  port: 8388",
            {**SERVER, "remarks": "a"},
        ),
        (
            '- {name: "a, b", type: ss, server: 192.0.2.1, port: 8388, pwd: "p,w"}',
            {**SERVER, "remarks": "a, b", "password": "p,w"},
        ),
        (
            "SS_REMOTE_HOST=192.0.2.1\nSS_REMOTE_PORT=8388\nSS_LOCAL_PORT=1080",
            {**SERVER, "local_port": "1080"},
        ),
    ],
)
def test_settings_are_read_in_every_form(text: str, values: dict[str, str]) -> None:
    """YAML, UCI, the environment, JSON without its braces, a panel's page."""
    assert find(text) == (values, True)


@pytest.mark.parametrize(
    "more", ["Enjoy!", "timeout: 300", "server_port:", "plugin-opts:\n  mode: tls"]
)
def test_what_is_left_out_is_told(more: str) -> None:
    found = find(f"server: 192.0.2.1\nport: 8388\n{more}")
    assert found is not None
    assert found.values == SERVER
    assert found.is_all == more.endswith("port:")


@pytest.mark.parametrize(
    "text",
    [
        *("", "server: 192.0.2.1", "password=s3cret", "timeout: 1\nmode: x"),
        *("transport=obfs4;password=a", "server;transport=obfs4", "Bridge: obfs4 x"),
        "Address = 10.0.0.2/32\nEndpoint = 192.0.2.1:51820",
    ],
)
def test_too_little_is_none(text: str) -> None:
    """One 'server:' may stand in any sentence."""
    assert find(text) is None


def test_a_shells_quotes_are_refused() -> None:
    """SE-05: what they mean would be another password."""
    with pytest.raises(ProtocolError) as caught:
        find("server: 192.0.2.1\npassword: 'it'\\''s3cret'")
    assert str(caught.value) == "the quotes around 'password' in it are not whole"


def test_several_servers_are_counted() -> None:
    text = "server: 192.0.2.1\nport: 8388\nserver: 192.0.2.2\nport: 8388"
    with pytest.raises(ProtocolError, match=r"^it has 2 servers: leave one in it$"):
        find(text)
