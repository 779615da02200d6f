"""``pt-bridge show``: what a server's owner hands out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from pt_bridge.cli import qr_code, show
from pt_bridge.cli.parser import command_line, flags_of
from pt_bridge.errors import UsageError
from tests.cli.test_conversion import CERT, LINE, LINK

if TYPE_CHECKING:
    from pathlib import Path

BRIDGE = f"obfs4 a.example:443 cert={CERT} iat-mode=0"


def shown(*words: str) -> tuple[str, list[str]]:
    given = command_line().parse_args(["show", *words])
    return show.run(given, command_line().parse_args, flags_of)


@pytest.fixture
def unit(tmp_path: Path) -> str:
    """Return the file of one of our units, whose server has run."""
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    (state / "client-options.txt").write_text(f"{LINE}\n")
    return conf(tmp_path, f"FLAGS=--state {state}", "REMOTE=0.0.0.0:443")


def conf(folder: Path, *lines: str, options: str = "server;transport=obfs4") -> str:
    path = folder / "pt-bridge" / "name.conf"
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(["LOCAL=127.0.0.1:8", f"OPTIONS='{options}'", *lines]))
    return str(path)


def test_a_server_without_shadowsocks_has_options_and_a_bridge_line(unit: str) -> None:
    text, notes = shown(unit, "--remote", "a.example:443")
    assert text.startswith(
        f"Plugin options:\n{LINE}\n\nBridge line:\n{BRIDGE}\n\n"
        f"QR code of the bridge line:\n"
    )
    assert text.rstrip().endswith(qr_code.draw(BRIDGE).rstrip())
    assert notes == []


def test_without_its_address_only_the_options_are_known(unit: str) -> None:
    """0.0.0.0 is no place to go to."""
    assert shown(unit) == (f"Plugin options:\n{LINE}\n", [show.NO_ADDRESS])
    with pytest.raises(UsageError, match="add --remote HOST:PORT"):
        shown(unit, "--output", "x.png")


def test_the_code_may_go_into_a_file(unit: str, tmp_path: Path) -> None:
    path = tmp_path / "x.svg"
    text, _ = shown(unit, "--remote", "a.example:443", "--output", str(path))
    assert "QR code" not in text
    assert path.exists()


def test_a_client_of_ours_shows_what_it_was_given(tmp_path: Path) -> None:
    path = conf(tmp_path, "REMOTE=a.example:443", options=LINE)
    text, notes = shown(path)
    assert f"Bridge line:\n{BRIDGE}\n" in text
    assert notes == [show.IS_CLIENT]


def test_a_configuration_of_shadowsocks_has_a_link_too(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    values = {"server": "a.example", "server_port": 443, "password": "x"}
    values |= {"method": "none", "plugin": "pt-bridge"}
    values["plugin_opts"] = f"transport=obfs4;cert={CERT};iat-mode=0"
    path.write_text(json.dumps(values))
    text, notes = shown(str(path))
    assert f"Link:\n{LINK}\n\nQR code of the link:\n" in text
    assert notes == [show.IS_CLIENT]


def test_a_server_that_has_never_run_has_no_line(tmp_path: Path) -> None:
    flags = f"FLAGS=--state {tmp_path}/absent"
    path = conf(tmp_path, flags, "REMOTE=0.0.0.0:443")
    with pytest.raises(UsageError, match="the clients' line is not there"):
        shown(path)


TUNNELS = """
[[server]]
name = "one"
listen = ["0.0.0.0:443"]
service = "127.0.0.1:8"
transport = "obfs4"
exec = "/bin/true"
state = "{state}"

[[server]]
name = "two"
listen = ["192.0.2.1:444"]
service = "127.0.0.1:8"
transport = "obfs4"
exec = "/bin/true"
state = "{state}/two"
"""


def test_a_server_of_a_file_of_tunnels_is_known_by_its_name(
    unit: str, tmp_path: Path
) -> None:
    del unit  # it has made the state
    (tmp_path / "state/two").mkdir(mode=0o700)
    (tmp_path / "state/two/client-options.txt").write_text(f"{LINE}\n")
    path = tmp_path / "tunnels.toml"
    path.write_text(TUNNELS.format(state=tmp_path / "state"))
    assert shown(str(path), "one")[0] == f"Plugin options:\n{LINE}\n"
    assert "Bridge line:\nobfs4 192.0.2.1:444 cert=" in shown(str(path), "two")[0]
    for words in ((str(path),), (str(path), "three")):
        with pytest.raises(
            UsageError, match=r"name one of the servers of .*: one, two"
        ):
            shown(*words)
    path.write_text(TUNNELS.format(state=tmp_path / "state").partition("\n\n")[0])
    assert shown(str(path))[0] == f"Plugin options:\n{LINE}\n"
    with pytest.raises(UsageError, match="a second NAME is one in a FILE"):
        shown("one", "two")


CLIENT_TABLE = """
[[client]]
name = "away"
listen = "127.0.0.1:1984"
server = "192.0.2.1:443"
plugin-opts = "{line}"
exec = "/bin/true"
"""


def test_a_client_of_a_file_of_tunnels_is_said_to_be_one(
    unit: str, tmp_path: Path
) -> None:
    del unit
    path = tmp_path / "tunnels.toml"
    client = CLIENT_TABLE.format(line=LINE)
    path.write_text(client)
    with pytest.raises(UsageError, match=r"'away' in .*tunnels\.toml is a client$"):
        shown(str(path), "away")
    path.write_text(client + TUNNELS.format(state=tmp_path / "state"))
    servers = "is a client: give one of its servers: one, two"
    with pytest.raises(UsageError, match=servers):
        shown(str(path), "away")


def test_a_name_that_is_nothing_is_said_to_be() -> None:
    with pytest.raises(UsageError, match=r"absent-everywhere\.service"):
        shown("absent-everywhere")
