"""What somebody asks doctor: read in any form, and written for a second pt-bridge."""

from __future__ import annotations

import pytest

from pt_bridge.doctor.request import (
    ANY_LOCAL,
    Request,
    config_of,
    profile_of,
    secrets_of,
    words_of,
)
from pt_bridge.errors import ConfigError

OPTIONS = "transport=obfs3"
LINE = "obfs3 192.0.2.7:443"
JSON = """{"server": "192.0.2.7", "server_port": 443, "method": "m", "password": "p@ss",
"plugin": "PLUGIN", "plugin_opts": "transport=obfs3;k=s3cret"}"""
OURS = JSON.replace("PLUGIN", "pt-bridge")


@pytest.mark.parametrize(
    "request_",
    [
        Request(text=LINE),
        Request(text=OURS),
        Request(text=OPTIONS, remote="192.0.2.7:443"),
        Request(text=OURS, plugin_opts=OPTIONS),
        Request(plugin_opts=OPTIONS, remote="192.0.2.7:443"),
        Request(plugin_opts=f"bridge={LINE}"),
        Request(plugin_opts="", flags={"transport": "obfs3"}, remote="192.0.2.7:443"),
    ],
)
def test_every_form_names_the_same_server(request_: Request) -> None:
    config = config_of(request_, profile_of(request_), {})
    assert [str(each) for each in config.remotes] == ["192.0.2.7:443"]
    assert (config.transport, str(config.local)) == ("obfs3", ANY_LOCAL)


def test_a_server_of_ipv6_addresses_is_named_as_flags_have_it() -> None:
    request = Request(text=OURS.replace("192.0.2.7", "2001:db8::1"))
    config = config_of(request, profile_of(request), {})
    assert str(config.remotes[0]) == "[2001:db8::1]:443"
    assert words_of(config, {"idle": "60"}) == [
        "--remote=[2001:db8::1]:443",
        "--idle=60",
    ]


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        (Request(text=JSON.replace("PLUGIN", "other")), "this is for the plugin other"),
        (Request(text=OPTIONS), "nothing says where the server is"),
        (Request(text=f"{OPTIONS};loglevel=debug", remote="a:1"), "loglevel=debug"),
    ],
)
def test_what_cannot_be_asked_about_is_named(request_: Request, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config_of(request_, profile_of(request_), {})
    assert sentence in str(caught.value)


def test_all_that_is_secret_is_known() -> None:
    proxy = "socks5://user:word@127.0.0.1:9"
    request = Request(text=OURS, flags={"upstream-proxy": proxy})
    profile = profile_of(request)
    found = secrets_of(config_of(request, profile, {}), profile)
    assert {"s3cret", "p@ss", "user", "word"} <= set(found)
    assert "s3cret" not in repr(request)


def test_flags_are_written_for_a_second_one_which_writes_no_log() -> None:
    request = Request(text=LINE)
    config = config_of(request, profile_of(request), {})
    assert words_of(config, {"loglevel": "debug", "socks": "127.0.0.1:1"}) == []
