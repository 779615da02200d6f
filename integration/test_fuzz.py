"""The fuzzing: that it finds what is there, and a short run over all that reads."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING, NamedTuple

import pytest

from fuzz import planted
from fuzz.targets import TARGETS
from integration.support.programs import ROOT

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("atheris", reason="atheris has no wheel for this machine")

SEED = 1
SECONDS = 25
# Some of it is found only by the close look at the end of each share.
PLANTED_SECONDS = 180
# How many inputs each target gets at least in a run of CI, however slow the machine is.
INPUTS = 50
LIMIT = 1200.0
WHAT = {
    "lets_an_error_out": "let KeyError('planted') out",
    "raises_the_wrong_one": "let ProtocolError('planted') out",
    "says_nothing": "had no words for an error",
    "reads_otherwise": "was wrong: it is read otherwise than it was written",
    "hangs": "took more than 3 s",
    "is_slow": "took more than 3 s",
    "hoards": "let MemoryError() out",
    "costs_too_much": "held 1048",
    "takes_all_memory": "let MemoryError() out",
    "keeps_inputs": "kept 10 objects of 10 times",
    "keeps_descriptors": "left 1 descriptors open",
    "ends_the_process": "ended the process with exit code 77",
    "ends_a_later_stream": "was wrong: a stream out of nothing",
    "loses_a_part": "was wrong: in pieces something else is ",
    "LetsAnErrorOut": "was wrong: the event loop was told of KeyError('planted')",
    "LetsAnybodyIn": "was wrong: a caller is heard wrong, or let in",
    "ReadsTooMuch": "was wrong: the tunnel's first bytes differ",
    "GoesDeaf": "was wrong: a good caller is not served",
}


class Fuzzed(NamedTuple):
    """A run, and what it said."""

    code: int
    text: str


def fuzz(*arguments: str) -> Fuzzed:
    """Run it to its end."""
    return run([sys.executable, "-m", "fuzz", *arguments])


def run(command: list[str]) -> Fuzzed:
    """Run a command in the project's folder, and end it in any case."""
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as program:
        try:
            text, _ = program.communicate(timeout=LIMIT)
        finally:
            program.terminate()  # it ends what it started
    return Fuzzed(program.returncode, text)


def row(text: str, name: str) -> list[int]:
    """Return the figures of a target: inputs, refused, paths, looked at, MiB."""
    (line,) = (line for line in text.splitlines() if line.startswith(f"{name}  "))
    return [int(word.replace(",", "")) for word in line.removeprefix(name).split()]


def test_whatever_is_broken_on_purpose_is_found(tmp_path: Path) -> None:
    """Or a run that finds nothing would prove nothing."""
    names = [target.name.partition(".")[2] for target in planted.TARGETS]
    assert sorted(names) == sorted(WHAT)
    done = fuzz(
        *("--planted", "--seconds", str(PLANTED_SECONDS), "--seed", str(SEED)),
        *("--finds", str(tmp_path)),
    )
    assert done.code == 1, done.text
    assert done.text.endswith(f" {len(WHAT)} finds\n"), done.text
    for name, what in WHAT.items():
        said = f"^found: planted.{name} {re.escape(what)}.*; input b.*, seed {SEED}; "
        (line,) = re.findall(f"{said}again: (.*)$", done.text, re.MULTILINE)
        words = shlex.split(line)
        assert words[:3] == ["scripts/fuzz", "--planted", "--repeat"]
        if name == "lets_an_error_out":
            again = run(words)
            assert again.code == 1, again.text
            assert f"found: planted.{name} {what}\n" in again.text
            assert "KeyError: 'planted'\n" in again.text


def test_what_is_borne_is_not_found(tmp_path: Path) -> None:
    """An input that found something is given again once that is mended."""
    path = tmp_path / "plugin_options.parse 01234567"
    path.write_bytes(b"transport=obfs4;cert=\\")
    assert fuzz("--repeat", str(path)) == (0, "plugin_options.parse bears it\n")


def test_a_target_that_there_is_not_is_named() -> None:
    """And those that there are."""
    done = fuzz("--only", "plugin_options.pares")
    assert done.code == 64
    assert done.text.startswith("there is no target 'plugin_options.pares', but: ")
    assert all(target.name in done.text for target in TARGETS)


def test_a_short_run_of_hostile_input_finds_nothing(tmp_path: Path) -> None:
    """SE-10: `scripts/fuzz`, always with the same seed."""
    done = fuzz(
        *("--seconds", str(SECONDS), "--inputs", str(INPUTS)),
        *("--seed", str(SEED), "--finds", str(tmp_path)),
    )
    assert done.code == 0, done.text
    assert done.text.endswith(": nothing was found\n"), done.text
    for target in TARGETS:
        inputs, _, paths, looked_at, _ = row(done.text, target.name)
        assert inputs >= INPUTS, done.text
        assert paths > len(target.corpus) // 2, done.text
        assert looked_at, done.text
    assert not list(tmp_path.iterdir())
