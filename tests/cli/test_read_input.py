"""Where a command's text comes from."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import pytest

from pt_bridge.cli.read_input import MAX_SIZE, read
from pt_bridge.errors import UsageError
from tests.support.refusals import refusal_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def refusal(argument: str, *, patience: float = 60.0) -> str:
    return refusal_of(UsageError, lambda: read(argument, patience=patience))


@contextlib.contextmanager
def standard_input(*pieces: bytes, ends: bool = True) -> Iterator[None]:
    """Put a pipe in the place of standard input."""
    reader, writer = os.pipe()
    before = os.dup(0)
    os.dup2(reader, 0)
    os.close(reader)
    try:
        for piece in pieces:
            os.write(writer, piece)
        if ends:
            os.close(writer)
        yield
    finally:
        os.dup2(before, 0)
        os.close(before)
        if not ends:
            os.close(writer)


def test_a_file_given_by_its_bare_name_is_read(tmp_path: Path) -> None:
    """Where there is one of that name; a home is found between quotes, too."""
    (tmp_path / "bridge").write_text("a")
    (tmp_path / "other one").write_text("b")
    with contextlib.chdir(tmp_path):
        assert read("bridge") == "a"
        assert read("other one") == "b"
        assert read("bridges") == "bridges"
        assert refusal("bridge bridge") == "these are 2 files: give one"
        assert read("bridge bridges") == "bridge bridges"
        assert read("x" * 5000) == "x" * 5000
        assert read("\0") == "\0"
        assert read("nested\nlines") == "nested\nlines"
    home = os.path.expanduser("~")
    assert refusal("~/no/such.json") == (
        f"cannot read {home}/no/such.json: No such file or directory"
    )


@pytest.mark.parametrize(
    "text",
    [
        "obfs4 192.0.2.1:443",
        "transport=webtunnel;url=https://e.example/a.json",
        "ss://a@h:1#my.json",
        '{"plugin_opts": "x.json"}.json',
        "obfs4 192.0.2.1:443\nbridge.json",
        "/a\nb",
        "",
        "--",
    ],
)
def test_an_argument_is_the_text_itself(text: str) -> None:
    assert read(text) == text


@pytest.mark.parametrize("relative", [False, True])
def test_an_argument_may_name_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, relative: bool
) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(b"{}\xff\n")
    monkeypatch.chdir(tmp_path)
    for name in ("config.json", "./config.json") if relative else (str(path),):
        assert read(name) == "{}\udcff\n"


def test_standard_input_is_read_to_its_end() -> None:
    with standard_input(b"Bridge obfs4 ", "\u00a0".encode(), b"192.0.2.1:443\n"):
        assert read("-") == "Bridge obfs4 \u00a0192.0.2.1:443\n"


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """ER-02."""
    missing = tmp_path / "a.json"
    assert refusal(str(missing)) == f"cannot read {missing}: No such file or directory"
    assert refusal(str(tmp_path)) == f"cannot read {tmp_path}: Is a directory"


def test_the_longest_text_is_read_and_no_longer_one(tmp_path: Path) -> None:
    """SE-10: a limit that is tested on both of its sides."""
    path = tmp_path / "a.json"
    path.write_bytes(b" " * MAX_SIZE)
    assert len(read(str(path))) == MAX_SIZE
    path.write_bytes(b" " * (MAX_SIZE + 1))
    assert refusal(str(path)) == f"{path} is longer than {MAX_SIZE // 1024} KiB"


@pytest.mark.parametrize("patience", [0.0, 0.05])
def test_what_does_not_end_is_not_waited_for_without_end(patience: float) -> None:
    with standard_input(b"Bridge ", ends=False):
        assert refusal("-", patience=patience) == (
            "the end of standard input did not come in time"
        )


def test_a_pipe_with_a_name_is_waited_for_no_longer(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    os.mkfifo(path)
    writer = os.open(path, os.O_RDWR)
    try:
        assert refusal(str(path), patience=0.05) == (
            f"the end of {path} did not come in time"
        )
    finally:
        os.close(writer)
