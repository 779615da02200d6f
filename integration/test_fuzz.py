"""The fuzzing: that it finds what is there, and a short run over all that reads."""

from __future__ import annotations

import os
import random
import re
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING, NamedTuple

import pytest

from fuzz import planted
from fuzz.ports import PAYLOAD, Plan
from fuzz.targets import TARGETS
from integration.support.programs import ROOT

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("atheris", reason="atheris has no wheel for this machine")

SEED = 1
SECONDS = 6
# How many inputs each target gets at least in a run of CI, however slow the machine is.
INPUTS = 50
LIMIT = 1200.0
DEEP, NEARLY_DEEP = b"{%}", b"{%"
CALL, CALL_OF_ANOTHER_VERSION = (
    Plan(request + PAYLOAD).written()
    for request in (planted.REQUESTS[0], b"\4\1\x7f\0\0\1")
)
# Steps of two machines on a line, the first without a RESET that comes late.
IN_ORDER, WITH_A_LATE_RESET = (
    random.Random(seed).randbytes(400)  # noqa: S311 - no secret
    for seed in (0, 4)
)


class Planted(NamedTuple):
    """What a target that is broken on purpose does not bear, and what it does.

    Attributes:
        bad: an input that must be found.
        what: what is said of it.
        good: an input that is borne, if any is.
    """

    bad: bytes
    what: str
    good: bytes | None


PLANTED = {
    "lets_an_error_out": Planted(DEEP, "let KeyError('planted') out", NEARLY_DEEP),
    "raises_the_wrong_one": Planted(
        DEEP, "let ProtocolError('planted') out", NEARLY_DEEP
    ),
    "says_nothing": Planted(DEEP, "had no words for an error", NEARLY_DEEP),
    "reads_otherwise": Planted(
        b"a=", "was wrong: it is read otherwise than it was written", b"a=b"
    ),
    "hangs": Planted(DEEP, "took more than 3 s", NEARLY_DEEP),
    "is_slow": Planted(b";" * 99 + b"x", "took more than 3 s", b";" * 5),
    # Only when a part of it is repeated until it is as long as may be.
    "hoards": Planted(b"===", "let MemoryError() out", b"abc"),
    "costs_too_much": Planted(b";", "held 1048", b","),
    "takes_all_memory": Planted(DEEP, "let MemoryError() out", NEARLY_DEEP),
    "keeps_inputs": Planted(b"a;", "kept 10 objects of 10 times", b"a,"),
    "keeps_descriptors": Planted(DEEP, "left 1 descriptors open", NEARLY_DEEP),
    "ends_the_process": Planted(
        DEEP, "ended the process with exit code -6", NEARLY_DEEP
    ),
    "ends_a_later_stream": Planted(
        WITH_A_LATE_RESET, "was wrong: a stream out of nothing", IN_ORDER
    ),
    # The close look makes headers in pieces of any input.
    "loses_a_part": Planted(
        b"\0\x80\0\0\1x", "was wrong: in pieces something else is ", None
    ),
    "LetsAnErrorOut": Planted(
        CALL_OF_ANOTHER_VERSION,
        "was wrong: the event loop was told of KeyError('planted')",
        CALL,
    ),
    "LetsAnybodyIn": Planted(
        CALL_OF_ANOTHER_VERSION, "was wrong: a caller is heard wrong, or let in", CALL
    ),
    # A good caller comes after each input, and is heard wrong by it.
    "ReadsTooMuch": Planted(CALL, "was wrong: the tunnel's first bytes differ", None),
    "GoesDeaf": Planted(
        CALL_OF_ANOTHER_VERSION, "was wrong: a good caller is not served", CALL
    ),
}
# What chance finds without fail: what lies deep, what lies open, what takes the process
# with it, and what only the close look sees in the end; and within how many inputs.
FOUND_BY_CHANCE = {
    "lets_an_error_out": PLANTED["lets_an_error_out"].what,
    "reads_otherwise": PLANTED["reads_otherwise"].what,
    "ends_the_process": "ended the process with exit code 77",
    "keeps_inputs": PLANTED["keeps_inputs"].what,
}
MOST_INPUTS = 100_000


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


def written(folder: Path, inputs: dict[str, bytes]) -> list[str]:
    """Write an input for each of some targets; return what gives them again."""
    words = []
    for name, data in inputs.items():
        path = folder / f"planted.{name} 01234567"
        path.write_bytes(data)
        words += ["--repeat", str(path)]
    return words


def test_whatever_is_broken_on_purpose_is_found(tmp_path: Path) -> None:
    """Or a run that finds nothing would prove nothing."""
    names = [target.name.partition(".")[2] for target in planted.TARGETS]
    assert sorted(names) == sorted(PLANTED)
    bad = {name: it.bad for name, it in PLANTED.items()}
    done = run(["scripts/fuzz", "--planted", *written(tmp_path, bad)])
    assert done.code == 1, done.text
    found = [line for line in done.text.splitlines() if line.startswith("found: ")]
    assert len(found) == len(PLANTED), done.text
    for line, (name, it) in zip(found, PLANTED.items(), strict=True):
        assert line.startswith(f"found: planted.{name} {it.what}"), done.text
    assert "KeyError: 'planted'\n" in done.text


def test_what_is_borne_is_not_found(tmp_path: Path) -> None:
    """An input that found something is given again once that is mended."""
    good = {name: it.good for name, it in PLANTED.items() if it.good is not None}
    done = fuzz("--planted", *written(tmp_path, good))
    assert done.text == "".join(f"planted.{name} bears it\n" for name in good)
    assert done.code == 0


def test_chance_finds_what_is_broken_on_purpose(tmp_path: Path) -> None:
    """It comes near to it a step at a time; what it found can be given again."""
    only = [word for it in FOUND_BY_CHANCE for word in ("--only", f"planted.{it}")]
    done = fuzz(
        *("--planted", *only, "--seconds", "1", "--inputs", str(MOST_INPUTS)),
        *("--seed", str(SEED), "--finds", str(tmp_path)),
    )
    assert done.code == 1, done.text
    assert done.text.endswith(f" {len(FOUND_BY_CHANCE)} finds\n"), done.text
    for name, what in FOUND_BY_CHANCE.items():
        said = f"^found: planted.{name} {re.escape(what)}; input b.*, seed {SEED}; "
        (line,) = re.findall(f"{said}again: (.*)$", done.text, re.MULTILINE)
        words = shlex.split(line)
        assert words[:3] == ["scripts/fuzz", "--planted", "--repeat"]
        with open(words[3], "rb") as file:
            data = file.read()
        match name:
            case "reads_otherwise":
                assert data.endswith(b"=")
            case "keeps_inputs":
                assert b";" in data
            case _:
                assert data.startswith(DEEP)


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
