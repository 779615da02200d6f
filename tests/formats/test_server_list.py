"""Where other programs' JSON has its shadowsocks servers."""

from __future__ import annotations

from typing import Any

import pytest

from pt_bridge.errors import ProtocolError
from pt_bridge.formats.server_list import find

ONE = {"server": "192.0.2.1", "server_port": 8388, "password": "p", "method": "none"}
XRAY = {"address": "192.0.2.1", "port": 8388, "password": "p", "method": "none"}
LEFT_OUT = "left out: what else this file of {}'s says"


@pytest.mark.parametrize(
    ("value", "servers", "notes"),
    [
        (ONE, [ONE], []),
        ({"local_port": 1080}, [{"local_port": 1080}], []),
        ({**ONE, "type": "shadowsocks"}, [{**ONE, "type": "shadowsocks"}], []),
        ({"type": "socks", "local_port": 1}, [{"type": "socks", "local_port": 1}], []),
        # shadowsocks-rust and SIP008
        ({"servers": [ONE], "version": 1}, [{**ONE, "version": 1}], []),
        ({"servers": [XRAY], "x": 1}, [{**ONE, "x": 1}], []),
        ({"servers": [ONE, ONE]}, [ONE, ONE], []),
        ({"servers": []}, [], []),
        # the Android app
        ([ONE], [ONE], []),
        ([XRAY, ONE], [ONE, ONE], []),
        # shadowsocks-windows
        (
            {"configs": [{**ONE, "remarks": "a"}], "index": 0, "localPort": 1080},
            [{**ONE, "remarks": "a", "local_port": 1080}],
            [LEFT_OUT.format("shadowsocks-windows")],
        ),
        ({"configs": [ONE, ONE]}, [ONE, ONE], []),
        # sing-box
        (
            {
                "log": {},
                "outbounds": [
                    {"type": "direct", "tag": "d"},
                    {"type": "shadowsocks", "tag": "s", **ONE},
                ],
            },
            [{**ONE, "remarks": "s"}],
            [LEFT_OUT.format("sing-box or Xray")],
        ),
        # Xray, as it was and as it is
        (
            {
                "outbounds": [
                    {"protocol": "shadowsocks", "settings": {"servers": [XRAY]}}
                ]
            },
            [ONE],
            [],
        ),
        (
            {
                "outbounds": [
                    {"protocol": "freedom"},
                    {"protocol": "shadowsocks", "settings": XRAY},
                ]
            },
            [ONE],
            [],
        ),
        # Clash
        (
            {
                "proxies": [
                    {
                        "type": "ss",
                        "name": "n",
                        "server": "192.0.2.1",
                        "port": 8388,
                        "cipher": "none",
                        "password": "p",
                        "plugin": "pt-bridge",
                        "plugin-opts": "transport=obfs3",
                    }
                ]
            },
            [
                {
                    **ONE,
                    "remarks": "n",
                    "plugin": "pt-bridge",
                    "plugin_opts": "transport=obfs3",
                }
            ],
            [],
        ),
        (
            {"proxies": [{**ONE, "plugin": "obfs", "plugin-opts": {"mode": "tls"}}]},
            [{**ONE, "plugin": "obfs"}],
            ["left out: plugin-opts, which are not written as pt-bridge's are"],
        ),
    ],
)
def test_the_servers_are_given_as_config_json_has_them(
    value: object, servers: list[dict[str, Any]], notes: list[str]
) -> None:
    assert find(value) == (servers, notes)


@pytest.mark.parametrize(
    "value",
    [
        None,
        1,
        "a",
        {},
        {"inbounds": [{"type": "socks"}]},
        {"inbounds": 1},
        [],
        ["ss://x"],
        {"servers": 1, "server": 1},
    ],
)
def test_where_there_is_no_place_for_servers_none_is_found(value: object) -> None:
    if isinstance(value, dict) and "server" in value:
        assert find(value) == ([value], [])
    else:
        assert find(value) is None


BRACES = "a server in it must stand in braces: { ... }"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"servers": "s3cret"}, BRACES),
        ({"servers": ["s3cret"]}, BRACES),
        ([1], BRACES),
        ({"configs": ["s3cret"]}, BRACES),
        ({"outbounds": [{"settings": {"servers": "s3cret"}}]}, BRACES),
        ({"outbounds": [{"settings": {"servers": ["s3cret"]}}]}, BRACES),
        (
            {"outbounds": [{"protocol": "vmess", "settings": {}}]},
            "it is a file of sing-box or Xray's, with no shadowsocks server",
        ),
        (
            {"configs": []},
            "it is a file of shadowsocks-windows's, with no shadowsocks server",
        ),
        (
            {"node-id": "s3cret", "private-key": "s3cret"},
            (
                "it is the PT's own state, with its private key: keep it to yourself; "
                "clients need what stands in client-options.txt"
            ),
        ),
        (
            {"inbounds": [1, {"protocol": "shadowsocks", "settings": {}}]},
            "it is a server's own (inbounds): give what its clients get",
        ),
        (
            {"type": "vmess", "server": "s3cret"},
            "the server in it is for vmess, and not for shadowsocks",
        ),
        (
            [{"type": "s3 cret", "server": "s3cret"}],
            "the server in it is for something else, and not for shadowsocks",
        ),
    ],
)
def test_what_holds_something_else_is_named(value: object, message: str) -> None:
    """ER-03, SE-05."""
    with pytest.raises(ProtocolError) as caught:
        find(value)
    assert str(caught.value) == message
