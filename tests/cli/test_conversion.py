"""``pt-bridge convert``: a server's configuration, and QR codes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from pt_bridge.cli import conversion
from pt_bridge.cli.parser import command_line
from pt_bridge.cli.qr_code import draw
from pt_bridge.errors import OptionsError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

CERT = "A" * 70
LINE = f"transport=obfs4;session=1;cert={CERT};iat-mode=0"
SERVER = {
    "server": "0.0.0.0",
    "server_port": 8388,
    "local_port": 9999,
    "password": "x",
    "method": "none",
    "mode": "tcp_only",
    "user": "nobody",
    "plugin": "pt-bridge",
    "plugin_opts": "server;transport=obfs4",
}
LINK = f"ss://bm9uZTp4@a.example:443/?plugin=pt-bridge%3Btransport%3Dobfs4%3Bcert%3D{CERT}%3Biat-mode%3D0"


def converted(*words: str) -> tuple[str, list[str]]:
    return conversion.run(command_line().parse_args(["convert", *words]))


@pytest.fixture
def line(tmp_path: Path) -> str:
    """Return the path of a client-options.txt."""
    path = tmp_path / "client-options.txt"
    path.write_text(f"{LINE}\n")
    return str(path)


def test_a_servers_configuration_becomes_its_clients(line: str) -> None:
    """The server's address comes from --remote, and what is its own is left out."""
    text, notes = converted(
        *(json.dumps(SERVER), "--to", "json", "--remote", "a.example:443"),
        *("--client-options", line),
    )
    assert json.loads(text) == {
        "server": "a.example",
        "server_port": 443,
        "local_address": "127.0.0.1",
        "local_port": 1080,
        "password": "x",
        "method": "none",
        "mode": "tcp_only",
        "plugin": "pt-bridge",
        "plugin_opts": LINE,
    }
    assert notes == ["left out, since it is the server's: user"]


def test_without_an_address_a_configuration_stays_the_servers() -> None:
    text, _ = converted(json.dumps(SERVER), "--to", "json")
    assert json.loads(text) == SERVER


def test_a_link_needs_the_servers_address(line: str) -> None:
    words = (json.dumps(SERVER), "--to", "link", "--client-options", line)
    with pytest.raises(UsageError, match="add --remote HOST:PORT"):
        converted(*words)
    text, _ = converted(*words, "--remote", "a.example:443")
    assert text.startswith("ss://bm9uZTp4@a.example:443/?plugin=pt-bridge%3B")


def test_a_qr_code_is_that_of_the_link(tmp_path: Path) -> None:
    text, _ = converted(LINK, "--to", "qr")
    link, _ = converted(LINK, "--to", "link")
    assert text == draw(link.strip())
    path = tmp_path / "code.png"
    assert converted(LINK, "--to", "qr", "--output", str(path)) == ("", [])
    assert path.exists()


def test_an_output_is_for_qr_codes() -> None:
    with pytest.raises(UsageError, match="--output is for --to qr"):
        converted(LINK, "--to", "json", "--output", "x.png")


def test_what_is_for_no_client_is_refused() -> None:
    """Another plugin's server has no line of ours."""
    other = {**SERVER, "plugin": "v2ray-plugin"}
    with pytest.raises(OptionsError):
        converted(json.dumps(other), "--to", "bridge", "--remote", "a.example:443")
