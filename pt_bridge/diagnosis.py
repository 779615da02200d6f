"""What doctor finds: one step for each link of the chain, for people and programs."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING

from pt_bridge.errors import (
    ArgumentsRejected,
    ConfigError,
    LoginRefused,
    TransportError,
    Unreached,
    Unresolved,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

# Of sysexits, for what only doctor finds: no way to the server; it does not let us in;
# nothing comes back. The others are those of `errors`.
NO_HOST, NO_ENTRY, NO_ANSWER = 68, 77, 66
OPTIONS, UNAVAILABLE, LATE = 65, 69, 75
INDENT = " " * 18  # as far as a line's own text


class Verdict(Enum):
    """What is said of a link."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Step:
    """One look at one link.

    Attributes:
        verdict: whether it holds.
        text: a sentence that says so, and why not.
        advice: what to try next, or "".
        exit_code: where it failed, doctor's own exit code; else 0.
        link: the link's name.
        seconds: how long the look took.
    """

    verdict: Verdict
    text: str
    advice: str = ""
    exit_code: int = 0
    link: str = ""
    seconds: float = 0.0

    def of(self, link: str, seconds: float) -> Step:
        """Give the same step with its link and its time."""
        return replace(self, link=link, seconds=seconds)

    @property
    def has_failed(self) -> bool:
        """Whether the chain is broken here."""
        return self.verdict is Verdict.FAILED

    def as_text(self) -> str:
        """Write it for a person; a second line holds the advice."""
        line = f"{self.verdict.value:8} {self.seconds:6.2f}s  {self.link}: {self.text}"
        return f"{line}\n{INDENT}try: {self.advice}" if self.advice else line

    def as_json(self) -> str:
        """Write it for a program, as one line of JSON."""
        values = {
            "link": self.link,
            "verdict": self.verdict.value,
            "seconds": round(self.seconds, 3),
            "text": self.text,
            "advice": self.advice,
        }
        if self.has_failed:
            values["exit_code"] = self.exit_code
        return json.dumps(values, ensure_ascii=False)


def ok(text: str) -> Step:
    """Say that a link holds."""
    return Step(Verdict.OK, text)


def warning(text: str, advice: str = "") -> Step:
    """Say that a link holds, and what is odd about it."""
    return Step(Verdict.WARNING, text, advice)


def skipped(text: str, advice: str = "") -> Step:
    """Say why a link was not looked at."""
    return Step(Verdict.SKIPPED, text, advice)


def failed(text: str, exit_code: int, advice: str = "") -> Step:
    """Say that the chain is broken here."""
    return Step(Verdict.FAILED, text, advice, exit_code)


def any_is_enough(steps: Sequence[Step], *, others: bool = False) -> Sequence[Step]:
    """Make warnings of failures, where there is another way.

    Args:
        steps: a look at each of some links, any of which will do.
        others: whether there are more of them, which hold.
    """
    if not others and all(step.has_failed for step in steps):
        return steps
    return [
        replace(step, verdict=Verdict.WARNING, exit_code=0) if step.has_failed else step
        for step in steps
    ]


def exit_code(error: Exception, otherwise: int) -> int:
    """Give the exit code for an error.

    Args:
        error: what looking at a link raised.
        otherwise: the code for what says nothing by itself.
    """
    match error:
        case ConfigError() | TransportError():
            return error.exit_code
        case ArgumentsRejected():
            return OPTIONS
        case LoginRefused():
            return UNAVAILABLE
        case Unresolved() | Unreached():
            return NO_HOST
    return otherwise
