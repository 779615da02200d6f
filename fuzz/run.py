"""One target's run, in a process of its own: atheris makes the inputs.

It mutates what is in the corpus, and adds to it what reaches something new in
pt-bridge, whose code was made to tell when it was imported. When most of the time is
over, all that is in the corpus is looked at closely.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import re
import resource
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn

import atheris

from fuzz.examiner import Examiner, Find, limits

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

    from fuzz.target import Target

# What of the time goes to the close look.
LOOKING = 0.3
# The longest input that grows out of the corpus; the close look makes longer ones.
MAX_LENGTH = 4096
# What atheris may wait for a target that waits for something itself, and what all may
# take beyond its time (seconds).
STILL_LIMIT = 60
BEYOND = 300.0
# How much longer than it should a busy machine may take.
BUSY = 20
MOST_OF_LOG = 5
WORD = re.compile(rb"[\w-]{2,}")


class Outcome(NamedTuple):
    """What came of a run.

    Attributes:
        inputs: how many there were.
        refused: how many of them were refused, with an error that may come out.
        paths: how many in the corpus were, in the end.
        looked_at: how many of those were looked at closely.
        memory: the most that the process had, in bytes.
        what: what was found, in words that follow the target's name, or "".
        data: the input that found it.
        trace: where it was, or "".
    """

    inputs: int = 0
    refused: int = 0
    paths: int = 0
    looked_at: int = 0
    memory: int = 0
    what: str = ""
    data: bytes = b""
    trace: str = ""


class Least(NamedTuple):
    """How much a target gets at least.

    Attributes:
        seconds: of the processor's time.
        inputs: how many, even where they take longer than that.
    """

    seconds: float
    inputs: int = 0


class Run:
    """Inputs for one target, for some time."""

    def __init__(
        self, target: Target, least: Least, seed: int, folder: Path, pipe: Connection
    ) -> None:
        """Prepare it.

        Args:
            target: what is fuzzed.
            least: for how long, and with how many inputs.
            seed: what the inputs are made from, beside the corpus.
            folder: an empty one.
            pipe: where the outcome goes.
        """
        self._target = target
        self._look = least.seconds * LOOKING
        # Of the processor's: a machine that is busy does not make the search shorter.
        self._end_of_fuzzing = time.process_time() + least.seconds - self._look
        # atheris begins with the corpus.
        self._least_inputs = (
            max(least.inputs, len(target.corpus)) if least.inputs else 0
        )
        self._rng = random.Random(f"{target.name}, seed {seed}")  # noqa: S311
        self._seed = seed
        self._folder = folder
        self._pipe = pipe
        self._corpus = folder / "corpus"
        self._looked_at = 0

    def go(self) -> NoReturn:
        """Run; the process ends in the midst of it."""
        self._corpus.mkdir()
        for number, data in enumerate(self._target.corpus):
            (self._corpus / f"seed-{number}").write_bytes(data)
        with self._target.opened() as read, limits():
            self._examiner = Examiner(self._target, read)
            atheris.Setup(self._arguments(), self._take)
            atheris.Fuzz()
        raise AssertionError("atheris has given up")

    def _arguments(self) -> list[str]:
        words = {b"\0", *self._target.words}  # there must be one
        for data in self._target.corpus:
            words.update(WORD.findall(data))
        dictionary = self._folder / "dictionary"
        dictionary.write_text("".join(map(_entry, sorted(words))))
        return [
            "fuzz",
            f"-seed={self._seed + 1}",  # 0 would be the time of day
            f"-dict={dictionary}",
            f"-max_len={MAX_LENGTH}",
            f"-timeout={STILL_LIMIT}",
            "-rss_limit_mb=0",
            f"-artifact_prefix={self._folder}/fatal-",
            str(self._corpus),
        ]

    def _take(self, data: bytes) -> None:
        try:
            if (
                time.process_time() < self._end_of_fuzzing
                or self._examiner.inputs < self._least_inputs
            ):
                self._examiner.examine(data)
                return
            self._look_closely()
        except Find as find:
            self._leave(str(find), find.data, _trace(find))
        self._leave()

    def _look_closely(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)  # atheris's, for one input
        end = time.process_time() + self._look
        paths = sorted(self._corpus.iterdir())
        self._rng.shuffle(paths)
        for path in paths:
            if time.process_time() >= end and self._looked_at:
                return
            data = path.read_bytes()
            (self._folder / "looked-at").write_bytes(data)
            self._examiner.look_closely(data, self._rng)
            self._looked_at += 1

    def _leave(self, what: str = "", data: bytes = b"", trace: str = "") -> NoReturn:
        outcome = Outcome(
            inputs=self._examiner.inputs,
            refused=self._examiner.refused,
            paths=len(list(self._corpus.iterdir())),
            looked_at=self._looked_at,
            memory=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            what=what,
            data=data,
            trace=trace,
        )
        self._pipe.send(outcome)
        os._exit(0)


def _trace(find: Find) -> str:
    """Return a sentence that says where it was, if an error tells."""
    cause = find.__cause__
    return "" if cause is None else "".join(traceback.format_exception(cause))


def _entry(word: bytes) -> str:
    """Write a word as a dictionary of libFuzzer's has it."""
    return '"' + "".join(f"\\x{byte:02x}" for byte in word) + '"\n'


def fuzz(target: Target, least: Least, *, seed: int, folder: Path) -> Outcome:
    """Run a target in a process of its own, and give what came of it.

    Args:
        target: what is fuzzed.
        least: for how long, and with how many inputs.
        seed: what the inputs are made from.
        folder: an empty one.
    """

    def run(pipe: Connection) -> NoReturn:
        Run(target, least, seed, folder, pipe).go()

    outcome = _in_a_process(run, BUSY * least.seconds + BEYOND, folder)
    return outcome if outcome.inputs else outcome._replace(data=_last(folder))


def repeat(target: Target, data: bytes, folder: Path) -> Outcome:
    """Return a target one input, in a process of its own, and look closely.

    Args:
        target: what it is given to.
        data: the input.
        folder: an empty one.
    """

    def give(pipe: Connection) -> None:
        pipe.send(_given(target, data))

    return _in_a_process(give, BEYOND, folder)


def _in_a_process(
    work: Callable[[Connection], object], limit: float, folder: Path
) -> Outcome:
    """Have a process do something, and give what came of it, however it ends.

    Args:
        work: what is done; the outcome goes into the pipe.
        limit: how long it may take, in seconds.
        folder: an empty one.
    """
    processes = multiprocessing.get_context("fork")
    ours, theirs = processes.Pipe(duplex=False)
    child = processes.Process(target=_child, args=(work, theirs, folder), daemon=True)
    sys.stdout.flush()
    child.start()
    theirs.close()
    with ours:
        try:
            if ours.poll(limit):
                outcome: Outcome = ours.recv()
                return outcome
            what = "did not come back"
        except EOFError:
            child.join()
            what = f"ended the process with exit code {child.exitcode}"
        finally:
            child.kill()
            child.join()
    log = (folder / "log").read_text(errors="backslashreplace").splitlines()
    return Outcome(what=what, trace="\n".join(log[-MOST_OF_LOG:]))


def _child(
    work: Callable[[Connection], object], pipe: Connection, folder: Path
) -> None:
    with (folder / "log").open("wb") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    work(pipe)


def _last(folder: Path) -> bytes:
    """Return the input that a process ended with."""
    for pattern in ("looked-at", "fatal-*"):
        for path in folder.glob(pattern):
            with contextlib.suppress(OSError):
                return path.read_bytes()
    return b""


def _given(target: Target, data: bytes) -> Outcome:
    """Return a target one input, in this process, and look closely."""
    with target.opened() as read, limits():
        examiner = Examiner(target, read)
        try:
            examiner.examine(data)
            examiner.look_closely(data, random.Random(0))  # noqa: S311
        except Find as find:
            return Outcome(what=str(find), data=find.data, trace=_trace(find))
    return Outcome(inputs=1, looked_at=1)
