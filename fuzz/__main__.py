"""Fuzz each target for its part of the time, and say what was found."""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import random
import shlex
import signal
import sys
import tempfile
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.termination import leave_every_block_at

if TYPE_CHECKING:
    from fuzz.run import Outcome
    from fuzz.target import Target

SECONDS = 600.0
# Where atheris is missing (sysexits' EX_UNAVAILABLE).
UNAVAILABLE = 69
# What tells what an input reaches: ours, and what of Python's own reads hostile text.
INSTRUMENTED = ["pt_bridge", "fuzz.planted", "ipaddress", "encodings.idna"]
MOST_SHOWN = 200  # bytes of an input; all of it is in its file
NAME_WIDTH = 42


def targets(table: str) -> dict[str, Target]:
    """Return the targets of a table, whose code tells what an input reaches there."""
    import atheris

    with atheris.instrument_imports(include=INSTRUMENTED):
        # Python would import it when it is first needed.
        importlib.import_module("encodings.idna")
        module = importlib.import_module(table)
    return {target.name: target for target in module.TARGETS}


def names(table: str) -> list[str]:
    """Return the names of a table's targets, whose code is not made to tell for that.

    It is so in another process alone: what is imported here stays as it is.
    """
    with multiprocessing.get_context("fork").Pool(1) as pool:
        return pool.apply(_names_here, (table,))


def _names_here(table: str) -> list[str]:
    return [target.name for target in importlib.import_module(table).TARGETS]


def main() -> int:
    """Run it; return 1 where anything was found."""
    given = _arguments()
    leave_every_block_at(signal.SIGTERM, signal.SIGHUP)
    table = "fuzz.planted" if given.planted else "fuzz.targets"
    repeated = [path.name.rpartition(" ")[0] for path in given.repeat]
    if only := repeated or given.only:
        there = names(table)
        unknown = [name for name in only if name not in there]
        if unknown:
            _say(f"there is no target {unknown[0]!r}, but: {'; '.join(there)}")
            return 64
    try:
        known = targets(table)
    except ModuleNotFoundError as error:
        if error.name != "atheris":
            raise
        _say("atheris is missing, which makes the inputs: it has no wheel for this")
        _say("machine's kind; use Python 3.11 to 3.14 on Linux and x86_64")
        return UNAVAILABLE
    if given.repeat:
        found = [
            _repeat(known[name], path.read_bytes())
            for name, path in zip(repeated, given.repeat, strict=True)
        ]
        return max(found)
    seed = random.randrange(1_000_000) if given.seed is None else given.seed  # noqa: S311
    chosen = [known[name] for name in only or known]
    try:
        return _fuzz(chosen, seed, given)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _fuzz(chosen: list[Target], seed: int, given: argparse.Namespace) -> int:
    from fuzz.examiner import MIB
    from fuzz.run import Least, fuzz

    _say(f"seed {seed}, {given.seconds:g} s for {len(chosen)} targets")
    share = given.seconds / sum(target.shares for target in chosen)
    _say(_row("target", "inputs", "refused", "paths", "looked at", "MiB"))
    outcomes, sentences = [], []
    for target in chosen:
        with tempfile.TemporaryDirectory(prefix="pt-bridge-fuzz-") as folder:
            least = Least(share * target.shares, given.inputs)
            outcome = fuzz(target, least, seed=seed, folder=Path(folder))
        outcomes.append(outcome)
        memory = f"{outcome.memory / MIB:.0f}"
        _say(
            _row(
                *(target.name, outcome.inputs, outcome.refused, outcome.paths),
                *(outcome.looked_at, memory),
            )
        )
        if outcome.what:
            sentences.append(_sentence(target, outcome, seed, given))
            _say(outcome.trace.rstrip())
    for sentence in sentences:
        _say(sentence)
    inputs = sum(outcome.inputs for outcome in outcomes)
    memory = f"{max(outcome.memory for outcome in outcomes) / MIB:.0f}"
    found = f"{len(sentences)} finds" if sentences else "nothing was found"
    _say(f"{inputs:,} inputs, at most {memory} MiB: {found}")
    return 1 if sentences else 0


def _sentence(
    target: Target, outcome: Outcome, seed: int, given: argparse.Namespace
) -> str:
    """Describe what was found, with what, and how to see it again."""
    given.finds.mkdir(exist_ok=True)
    path: Path = given.finds / f"{target.name} {sha256(outcome.data).hexdigest()[:8]}"
    path.write_bytes(outcome.data)
    shown = repr(outcome.data[:MOST_SHOWN])
    if len(outcome.data) > MOST_SHOWN:
        shown += f" and {len(outcome.data) - MOST_SHOWN} bytes more"
    planted = " --planted" if given.planted else ""
    return (
        f"found: {target.name} {outcome.what}; input {shown}, seed {seed}; again: "
        f"scripts/fuzz{planted} --repeat {shlex.quote(str(path))}"
    )


def _repeat(target: Target, data: bytes) -> int:
    from fuzz.run import repeat

    with tempfile.TemporaryDirectory(prefix="pt-bridge-fuzz-") as folder:
        outcome = repeat(target, data, Path(folder))
    if not outcome.what:
        _say(f"{target.name} bears it")
        return 0
    _say(outcome.trace.rstrip())
    _say(f"found: {target.name} {outcome.what}")
    return 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/fuzz",
        description="Give hostile input to every parser and to the loopback servers. "
        "Gives 1 where anything but our own errors came out, something hung, took too "
        "much memory, was read otherwise than it was written, or left anything.",
    )
    parser.add_argument(
        *("--seconds", "-s"),
        type=float,
        default=SECONDS,
        help="for all targets together (%(default)g)",
    )
    parser.add_argument(
        "--inputs",
        type=int,
        default=0,
        help="for each target at least, if they take longer than that (%(default)s)",
    )
    parser.add_argument("--seed", type=int, help="what inputs are made from; else new")
    parser.add_argument(
        "--only", action="append", default=[], metavar="TARGET", help="may come often"
    )
    parser.add_argument(
        "--repeat",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="give an input that found something; may come often",
    )
    parser.add_argument(
        "--planted", action="store_true", help="fuzz what is broken on purpose instead"
    )
    parser.add_argument(
        "--finds",
        type=Path,
        default=Path(".fuzz"),
        metavar="FOLDER",
        help="where inputs are kept that found something (%(default)s)",
    )
    return parser.parse_args()


def _row(name: str, *columns: object) -> str:
    texts = (f"{each:,}" if isinstance(each, int) else str(each) for each in columns)
    return name.ljust(NAME_WIDTH) + "".join(text.rjust(11) for text in texts)


def _say(words: str) -> None:
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
