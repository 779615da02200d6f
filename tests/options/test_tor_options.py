"""What is asked for of a tor: flags, and nothing that a link could carry."""

from __future__ import annotations

import pytest

from pt_bridge.errors import OptionsError
from pt_bridge.options.config import Config
from pt_bridge.options.own_options import OPTIONS
from pt_bridge.options.tor_options import control_port
from pt_bridge.protocol.address import Address

VARIABLES = {
    b"SS_REMOTE_HOST": b"192.0.2.3",
    b"SS_REMOTE_PORT": b"443",
    b"SS_LOCAL_HOST": b"127.0.0.1",
    b"SS_LOCAL_PORT": b"1984",
    b"SS_PLUGIN_OPTIONS": b"transport=obfs4",
}
SERVER_VARIABLES = {**VARIABLES, b"SS_PLUGIN_OPTIONS": b"server;transport=obfs4"}
NAMES = ("socks", "ext-orport", "ext-orport-cookie", "tor-control")
COOKIE = "/var/lib/tor/extended_orport_auth_cookie"


def client(flags: dict[str, str | None], options: str = "") -> Config:
    text = f"transport=obfs4{options}".encode()
    variables = {**VARIABLES, b"SS_PLUGIN_OPTIONS": text}
    return Config(variables, plugin=False, flags=flags)


def server(flags: dict[str, str | None]) -> Config:
    return Config(SERVER_VARIABLES, plugin=False, flags=flags)


def test_nothing_is_asked_for_by_itself() -> None:
    assert server({}).tor_control is None
    assert not server({}).has_tor_behind


@pytest.mark.parametrize("name", NAMES)
def test_plugin_options_cannot_ask_for_it(name: str) -> None:
    """A link must not lead to other programs of this machine."""
    assert OPTIONS[name].is_flag_only
    role = b"server;" if OPTIONS[name].side == "server" else b""
    options = role + b"transport=obfs4;" + name.encode() + b"=127.0.0.1:1"
    with pytest.raises(OptionsError) as caught:
        Config({**VARIABLES, b"SS_PLUGIN_OPTIONS": options})
    assert str(caught.value).startswith(f"'{name}' is refused in plugin options")


def test_a_client_for_tor_needs_no_arguments_of_its_own() -> None:
    """Each connection brings them."""
    config = client({"socks": "127.0.0.1:1984"})
    assert config.socks == Address("127.0.0.1", 1984)
    assert config.warnings == []


@pytest.mark.parametrize(
    "text", ["[::1]:9", "localhost:9", "public:0.0.0.0:9", "public:192.0.2.1:9"]
)
def test_other_machines_are_let_in_where_that_is_said(text: str) -> None:
    address = client({"socks": text}).socks
    assert address is not None
    assert address.port == 9


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "192.0.2.1", "a.example"])
def test_other_machines_are_not_let_in_by_mistake(host: str) -> None:
    with pytest.raises(OptionsError) as caught:
        client({"socks": f"{host}:9"})
    assert str(caught.value) == (
        f"--socks would let other machines use the PT: write 127.0.0.1:9, or "
        f"public:{host}:9 if that is what you want"
    )


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (";cert=A;iat-mode=0", "cert= iat-mode="),
        (";session=1;cert=A", "session= cert="),
    ],
)
def test_what_each_connection_says_is_not_said_for_all(
    options: str, names: str
) -> None:
    with pytest.raises(OptionsError) as caught:
        client({"socks": "127.0.0.1:9"}, options)
    assert str(caught.value) == (
        f"with --socks each connection names its bridge and that one's arguments: "
        f"leave out {names}"
    )


@pytest.mark.parametrize(
    ("flags", "names"),
    [
        ({"udp": None}, "udp"),
        ({"udp": None, "preconnect": "1"}, "preconnect and udp"),
    ],
)
def test_what_needs_a_session_is_nothing_for_a_client_for_tor(
    flags: dict[str, str | None], names: str
) -> None:
    with pytest.raises(OptionsError) as caught:
        client({"socks": "127.0.0.1:9", **flags})
    assert str(caught.value) == (
        f"with --socks a tor's connections go through the PT as they are, without a "
        f"session: leave out {names}"
    )


def test_the_tor_behind_is_said_by_its_port_and_its_cookie() -> None:
    given = {"ext-orport": "127.0.0.1:9010", "ext-orport-cookie": COOKIE}
    asked = server({**given})
    assert asked.ext_orport == Address("127.0.0.1", 9010)
    assert asked.ext_orport_cookie == COOKIE
    assert asked.has_tor_behind


def test_the_tor_behind_is_said_by_its_control_port() -> None:
    asked = server({"tor-control": "/run/tor/control"})
    assert asked.tor_control == "/run/tor/control"
    assert asked.has_tor_behind


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"ext-orport": "127.0.0.1:9010"}, "go together"),
        ({"ext-orport-cookie": COOKIE}, "go together"),
        (
            {"ext-orport": "127.0.0.1:9010", "ext-orport-cookie": "cookie"},
            "must be a whole path, from its '/'",
        ),
        ({"ext-orport": "9010", "ext-orport-cookie": COOKIE}, "--ext-orport is wrong"),
        ({"tor-control": "9051"}, "--tor-control is wrong"),
        (
            {"tor-control": "/x", "ext-orport-cookie": COOKIE},
            "give the one, or the other two",
        ),
        (
            {"tor-control": "/x", "ext-orport": "127.0.0.1:9010"},
            "give the one, or the other two",
        ),
        ({"tor-control": "/x", "send-proxy-v2": None}, "tor takes no PROXY header"),
        ({"tor-control": "/x", "session": "only"}, "lets in no client of Tor's"),
        ({"tor-control": "/x", "udp": None}, "tor carries TCP alone"),
    ],
)
def test_what_does_not_go_together_is_said(
    values: dict[str, str | None], text: str
) -> None:
    with pytest.raises(OptionsError) as caught:
        server(values)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("text", "control"),
    [
        ("127.0.0.1:9051", Address("127.0.0.1", 9051)),
        ("[::1]:9051", Address("::1", 9051)),
        ("/run/tor/control", "/run/tor/control"),
        ("unix:/run/tor/control", "/run/tor/control"),
    ],
)
def test_a_control_port_is_an_address_or_a_path(
    text: str, control: Address | str
) -> None:
    assert control_port(text) == control


@pytest.mark.parametrize("text", ["9051", "run/tor/control", "unix:control", ""])
def test_anything_else_is_none(text: str) -> None:
    with pytest.raises(OptionsError) as caught:
        control_port(text)
    assert str(caught.value).endswith("; or give the path of a socket")


def test_a_port_alone_is_no_place_to_listen() -> None:
    with pytest.raises(OptionsError) as caught:
        client({"socks": "9050"})
    assert str(caught.value).startswith("--socks is wrong: ")


def test_who_looks_at_clients_sees_them() -> None:
    """Else the PT goes to tor itself."""
    assert not server({"tor-control": "/x"}).looks_at_clients
    assert server({"tor-control": "/x", "deny": "/y"}).looks_at_clients
    assert server({"tor-control": "/x", "front": "yes"}).looks_at_clients
