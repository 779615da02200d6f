"""What a unit starts, as far as no systemd is needed for it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pt_bridge.errors import UsageError
from pt_bridge.files import unit

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("shadowsocks-libev.service", True),
        ("pt-bridge-server@NAME", True),
        ("pt-bridge-server@a\\x2db.service", True),
        ("/etc/pt-bridge/NAME.conf", True),
        ("/etc/pt-bridge.conf", False),
        ("config.json", False),
        ("ss://YWVzLTI1Ni1nY206cHc@192.0.2.1:8388", False),
        ("obfs4 192.0.2.7:443 cert=AAAA iat-mode=0", False),
        ("transport=obfs4;cert=a@b", False),
        ("", False),
    ],
)
def test_a_unit_s_name_is_told_from_all_else(text: str, *, expected: bool) -> None:
    assert unit.is_unit(text) == expected


def test_variables_are_put_in_as_systemd_does() -> None:
    variables = {"OPTIONS": "transport=obfs4;cert=a b", "FLAGS": "--idle 60"}
    words = ["pt-bridge", "--plugin-opts", "${OPTIONS}", "$FLAGS", "${NONE}", "$NONE"]
    assert unit.expand(words, variables) == [
        *("pt-bridge", "--plugin-opts", variables["OPTIONS"]),
        *("--idle", "60", ""),
    ]


def test_an_environment_file_is_read_as_systemd_does() -> None:
    text = (
        "# of the server\nA=plain words\nB='a\\;b$c'\n"
        'C="say \\"x\\""\nD=\\a\nno line\nE=\n'
    )
    assert unit.parse_environment(text) == {
        "A": "plain words",
        "B": "a\\;b$c",
        "C": 'say "x"',
        "D": "a",
        "E": "",
    }


def conf(folder: Path, **values: str) -> str:
    path = folder / "pt-bridge" / "name.conf"
    path.parent.mkdir()
    path.write_text("".join(f"{key}='{value}'\n" for key, value in values.items()))
    return str(path)


@pytest.mark.parametrize(
    ("remote", "options", "role"),
    [
        ("0.0.0.0:443", "transport=obfs4", "server"),
        ("192.0.2.1:443", "transport=obfs4", "server"),
        ("192.0.2.1:443", f"transport=obfs4;cert={'A' * 70};iat-mode=0", "client"),
        ("nonsense", "transport=obfs4", "client"),
    ],
)
def test_the_file_of_one_of_our_units_says_which_it_is(
    tmp_path: Path, remote: str, options: str, role: str
) -> None:
    path = conf(tmp_path, LOCAL="127.0.0.1:8", REMOTE=remote, OPTIONS=options)
    service = unit.read(path)
    assert service.words == [
        *("pt-bridge", role, "--local", "127.0.0.1:8", "--remote", remote),
        *("--plugin-opts", options),
    ]
    folder = f"/var/lib/pt-bridge-{role}/name"
    assert service.variables[b"STATE_DIRECTORY"] == os.fsencode(folder)


def test_what_a_file_lacks_is_named(tmp_path: Path) -> None:
    path = conf(tmp_path, REMOTE="192.0.2.1:443")
    with pytest.raises(UsageError, match="LOCAL, OPTIONS is missing"):
        unit.read(path)
    with pytest.raises(UsageError, match="cannot read"):
        unit.read(f"{tmp_path}/pt-bridge/another.conf")
