"""``pt-bridge run --check FILE``, and files that cannot be read."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.processes import CLIENT_OPTIONS
from tests.support.processes import SERVER as PT_SERVER

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.support.processes import Bench, Program

TABLE = f"""\
[[client]]
name = "away"
listen = "127.0.0.1:1984"
server = "192.0.2.1:443"
plugin-opts = "{CLIENT_OPTIONS}"
"""
OTHER = TABLE.replace("away", "other").replace("1984", "1985")


@pytest.mark.parametrize(
    ("text", "number"), [(TABLE, "1 tunnel"), (TABLE + OTHER, "2 tunnels")]
)
def test_a_file_that_is_right_is_told_so(bench: Bench, text: str, number: str) -> None:
    path = bench.folder / "the.toml"
    path.write_text(text)
    program = bench.standalone("run", "--check", str(path))
    assert program.wait() == 0
    assert program.output.decode() == f"{path} is right: {number}\n"
    assert program.text == ""


def missing(path: Path) -> None:
    """Leave it out."""


def folder(path: Path) -> None:
    path.mkdir()


def large(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1024 * 1024 + 1)


def fifo(path: Path) -> None:
    os.mkfifo(path)


def wrong(path: Path) -> None:
    path.write_text(TABLE.replace("transport=obfs4", "transport=obfs4;front=1;hold=1"))


@pytest.mark.parametrize(
    ("make", "code", "text"),
    [
        (missing, 78, "no such file or directory"),
        (folder, 78, "is a directory"),
        (large, 78, "is larger than 1 MiB"),
        (fifo, 78, "names no tunnel"),
        (wrong, 65, "[[client]] 'away': 'hold' is gone"),
    ],
)
@pytest.mark.parametrize("check", [True, False])
def test_a_file_that_cannot_be_used_is_named(
    bench: Bench, make: object, code: int, text: str, *, check: bool
) -> None:
    path = bench.folder / "the.toml"
    assert callable(make)
    make(path)
    flags = ["--check"] if check else []
    got, sentence = bench.failure(bench.standalone("run", *flags, str(path)))
    assert got == code
    assert str(path) in sentence
    assert text in sentence


SERVER = """\
[[server]]
name = "home"
listen = "127.0.0.1:{}"
service = "127.0.0.1:8388"
transport = "obfs4"
"""


def check(bench: Bench, text: str, **keywords: Sequence[str]) -> Program:
    path = bench.folder / "the.toml"
    path.write_text(text)
    before = keywords.get("before", ())
    command = [*before, sys.executable, "-m", "pt_bridge", "run", "--check", str(path)]
    return bench.run(command, bench.variables)


@pytest.mark.parametrize(
    ("more", "code", "text"),
    [
        ('deny = "/nowhere/deny"', 64, "deny: /nowhere/deny cannot be read: no such"),
        ('allow = "/"', 64, "allow: / cannot be read: is a directory"),
        ('geoip = "/nowhere/geoip"', 64, "geoip: /nowhere/geoip cannot be read"),
        ('[log]\nfile = "/nowhere/log"', 78, "[log]: file: /nowhere/log cannot be"),
        ('[log]\nfile = "/"', 78, "[log]: file: / cannot be written"),
        ('[metrics]\nlisten = "9100"', 78, "[metrics]: listen must be HOST:PORT"),
    ],
)
def test_what_a_start_would_miss_is_missed(
    bench: Bench, more: str, code: int, text: str
) -> None:
    """With the names that things have in the file, and not those of flags."""
    got, sentence = bench.failure(check(bench, SERVER.format(bench.port) + more))
    assert got == code
    assert text in sentence


def test_what_a_start_would_warn_of_is_noted(bench: Bench) -> None:
    """The program that is named may know such a transport."""
    program = check(bench, TABLE.replace("=obfs4;", "=obsf4;"))
    assert program.wait() == 0
    assert program.text == (
        "pt-bridge: note: [[client]] 'away': pt-bridge knows no 'obsf4': did you mean "
        "'obfs4'?"
    )


@pytest.mark.parametrize("flags", [["--check"], []])
@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("obsf4", "did you mean 'obfs4'? If a PT of yours offers it, name that with "),
        ("another", "it knows conjure, meek, meek_lite, obfs2, obfs3, obfs4, "),
    ],
)
def test_a_transport_that_nobody_knows_is_an_error(
    bench: Bench, name: str, hint: str, flags: list[str]
) -> None:
    """Before anything is listened on, or given up."""
    path = bench.folder / "the.toml"
    path.write_text(SERVER.format(bench.port).replace("obfs4", name))
    code, sentence = bench.failure(bench.standalone("run", *flags, str(path)))
    assert code == 65
    where = f"{path}: [[server]] 'home': pt-bridge knows no transport '{name}': "
    assert f"{where}{hint}" in sentence
    assert sentence.endswith("name that with exec, or in pt-bridge.conf")


def test_a_transport_that_only_the_owners_file_knows_is_right(bench: Bench) -> None:
    before = bench.for_ordinary_user()
    bench.folder.chmod(0o755)
    folder = bench.folder / "config"
    folder.mkdir(mode=0o755)
    line = f"ServerTransportPlugin obsf4 exec {bench.pt.path}"
    (folder / "pt-bridge.conf").write_text(line)
    bench.variables["XDG_CONFIG_HOME"] = str(folder)
    text = SERVER.format(bench.port).replace("obfs4", "obsf4")
    program = check(bench, text, before=before)
    assert program.wait() == 0, program.text


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ('state = "main"', 'plugin-opts = "state=main"'),
        ('state = "main"', 'state = "{folder}/state/pt-bridge/main"'),
    ],
)
def test_two_servers_with_one_folder_for_their_keys_are_named(
    bench: Bench, first: str, second: str
) -> None:
    """However that is written."""
    one, two = (SERVER.format(bench.free_port()) for _ in range(2))
    two = two.replace("home", "other") + second.format(folder=bench.folder)
    code, sentence = bench.failure(check(bench, f"{one}{first}\n{two}"))
    assert code == 78
    assert "[[server]] 'home' and [[server]] 'other' keep their keys in one" in sentence
    assert sentence.endswith("/pt-bridge/main: give each a state of its own")


def test_two_servers_with_one_port_are_told_that_they_share_keys(bench: Bench) -> None:
    one = SERVER.format(bench.port)
    two = one.replace("home", "other").replace("127.0.0.1:", "127.0.0.2:", 1)
    program = check(bench, f"{one}{two}")
    assert program.wait() == 0
    assert program.text.startswith(
        "pt-bridge: note: [[server]] 'other': [[server]] 'home' and [[server]] 'other' "
        "keep their keys in one folder, "
    )


def test_without_a_folder_for_keys_the_file_is_right_still(bench: Bench) -> None:
    """Whoever runs it later may have one."""
    before = bench.for_ordinary_user()
    bench.folder.chmod(0o755)
    del bench.variables["XDG_STATE_HOME"]
    bench.variables["HOME"] = "/"
    program = check(bench, SERVER.format(bench.port), before=before)
    assert program.wait() == 0, program.text


def test_a_log_file_that_can_be_written_is_right(bench: Bench) -> None:
    log = bench.folder / "the.log"
    program = check(bench, f'{TABLE}[log]\nfile = "{log}"')
    assert program.wait() == 0
    assert not log.exists()


def test_a_port_that_another_program_has_is_an_error(bench: Bench) -> None:
    port = bench.listen().getsockname()[1]
    code, sentence = bench.failure(check(bench, SERVER.format(port)))
    assert code == 74
    assert (
        f"[[server]] 'home': cannot listen on port {port}: address already" in sentence
    )


def test_a_port_that_pt_bridge_itself_has_is_none(bench: Bench) -> None:
    """Be it held by us or by a PT of ours."""
    bench.pt.play(*PT_SERVER)
    front = SERVER.format(bench.free_port()).replace("home", "front") + "front = true\n"
    text = SERVER.format(bench.port) + front
    path = bench.folder / "running.toml"
    path.write_text(text)
    program = bench.standalone("run", str(path))
    program.said("pt-bridge[home]: ready: ")
    program.said("pt-bridge[front]: ready: ")
    checked = check(bench, text)
    assert checked.wait() == 0, checked.text
    assert checked.text == ""
    bench.stop(program)


def test_what_this_user_cannot_know_is_noted(bench: Bench) -> None:
    """A port below 1024, which whoever runs it may have."""
    before = bench.for_ordinary_user()
    bench.folder.chmod(0o755)
    program = check(bench, SERVER.format(1), before=before)
    assert program.wait() == 0, program.text
    assert (
        "note: [[server]] 'home': cannot listen on port 1: permission" in program.text
    )


def test_a_file_that_others_may_write_is_not_believed(bench: Bench) -> None:
    path = bench.folder / "the.toml"
    path.write_text(TABLE)
    path.chmod(0o666)
    code, sentence = bench.failure(bench.standalone("run", str(path)))
    assert code == 78
    assert "others may write to" in sentence
    assert f"'chmod go-w {path}'" in sentence


def test_a_mark_at_the_begin_of_the_file_is_no_key(bench: Bench) -> None:
    """Windows puts a BOM there."""
    program = check(bench, f"\ufeff{TABLE}")
    assert program.wait() == 0
