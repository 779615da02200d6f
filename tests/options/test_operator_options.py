"""What operators ask for: flags, and nothing that a link could carry."""

from __future__ import annotations

import pytest

from pt_bridge.errors import OptionsError
from pt_bridge.options import operator_options
from pt_bridge.options.config import Config
from pt_bridge.options.option_values import Given
from pt_bridge.options.own_options import OPTIONS
from pt_bridge.protocol.address import Address

SERVER_VARIABLES = {
    b"SS_REMOTE_HOST": b"0.0.0.0",
    b"SS_REMOTE_PORT": b"443",
    b"SS_LOCAL_HOST": b"127.0.0.1",
    b"SS_LOCAL_PORT": b"8388",
    b"SS_PLUGIN_OPTIONS": b"server;transport=obfs4",
}
FLAGS = {
    "metrics": "127.0.0.1:9100",
    "geoip": "/geoip",
    "send-proxy-v2": None,
    "accept-proxy": None,
    "deny": "/deny",
    "allow": "/allow",
    "max-per-source": "7",
}


def test_nothing_is_asked_for_by_itself() -> None:
    for name in FLAGS:
        assert not OPTIONS[name].read(Given({}))


def test_all_of_it_is_read_from_flags() -> None:
    config = Config(SERVER_VARIABLES, plugin=False, flags=FLAGS)
    assert config.metrics == Address("127.0.0.1", 9100)
    assert (config.geoip, config.deny, config.allow) == ("/geoip", "/deny", "/allow")
    assert config.send_proxy_v2
    assert config.accept_proxy
    assert config.max_per_source == 7
    assert config.front  # who stands behind a balancer listens itself


@pytest.mark.parametrize("name", FLAGS)
def test_plugin_options_cannot_ask_for_it(name: str) -> None:
    """A link carries plugin options, and an attacker writes links."""
    assert OPTIONS[name].is_flag_only
    value = f"={FLAGS[name]}" if FLAGS[name] is not None else ""
    options = SERVER_VARIABLES[b"SS_PLUGIN_OPTIONS"] + f";{name}{value}".encode()
    with pytest.raises(OptionsError) as caught:
        Config({**SERVER_VARIABLES, b"SS_PLUGIN_OPTIONS": options})
    assert str(caught.value).startswith(
        f"'{name}' is refused in plugin options, since links can carry them: use the "
        f"flag --{name} of 'pt-bridge "
    )


def test_these_are_all_that_are_for_flags_only() -> None:
    flags = {name for name, option in OPTIONS.items() if option.is_flag_only}
    assert flags >= set(FLAGS)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("127.0.0.1:9100", Address("127.0.0.1", 9100)),
        ("127.1.2.3:1", Address("127.1.2.3", 1)),
        ("[::1]:9100", Address("::1", 9100)),
        ("localhost:9100", Address("localhost", 9100)),
        ("public:0.0.0.0:9100", Address("0.0.0.0", 9100)),
        ("public:[::]:9100", Address("::", 9100)),
        ("unix:/run/m.sock", "/run/m.sock"),
        ("unix:m", "m"),
        ("unix:" + "x" * 107, "x" * 107),
    ],
)
def test_numbers_are_served_on_loopback_or_as_it_is_said(
    text: str, place: Address | str
) -> None:
    assert operator_options.metrics_place(text) == place


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "0.0.0.0:9100",
            "write 127.0.0.1:9100, or public:0.0.0.0:9100 if that is what you want",
        ),
        ("[2001:db8::1]:9100", "public:[2001:db8::1]:9100 if that is what you want"),
        ("metrics.example:1", "would let other machines read the numbers"),
        ("9100", "metrics= must be HOST:PORT or unix:PATH: it must be HOST:PORT"),
        ("127.0.0.1:0", "it must be a port from 1 to 65535"),
        ("http://127.0.0.1:1", "with no '...://' before it"),
        ("unix:", "metrics=unix:PATH needs a path of at most 107 bytes"),
        ("unix:" + "x" * 108, "metrics=unix:PATH needs a path of at most 107 bytes"),
    ],
)
def test_a_place_that_is_none_is_refused(text: str, message: str) -> None:
    with pytest.raises(OptionsError) as caught:
        operator_options.metrics_place(text)
    assert message in str(caught.value)


@pytest.mark.parametrize("value", ["0", "-1", "x", "", "1000001", "10000000", "\u0661"])
def test_a_limit_is_a_number(value: str) -> None:
    with pytest.raises(OptionsError, match="must be a number from 1 to 1000000"):
        operator_options.max_per_source(Given({"max-per-source": value}))
    most = Given({"max-per-source": "1000000"})
    assert operator_options.max_per_source(most) == 1_000_000
