"""What doctor finds: a result for each check, for people and for programs."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING

from pt_bridge.errors import (
    NO_HOST,
    NOT_PROVEN,
    OPTIONS,
    UNAVAILABLE,
    ArgumentsRejected,
    ConfigError,
    LoginRefused,
    TransportError,
    Unreached,
    Unresolved,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

INDENT = " " * 18  # as far as a line's own text


class Verdict(Enum):
    """How a check came out."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"
    UNPROVEN = "unproven"
    WAITING = "waiting"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What one check found.

    Attributes:
        verdict: how it came out.
        text: a sentence that says so, and why not.
        advice: what to try next, or "".
        exit_code: where it failed or is not proven, doctor's own exit code; else 0.
        link: the check's name; in JSON it is called so.
        seconds: how long it took.
    """

    verdict: Verdict
    text: str
    advice: str = ""
    exit_code: int = 0
    link: str = ""
    seconds: float = 0.0

    def of(self, link: str, seconds: float) -> CheckResult:
        """Return the same result with its check's name and its time."""
        return replace(self, link=link, seconds=seconds)

    @property
    def has_failed(self) -> bool:
        """Whether the checks end here."""
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
        if self.exit_code:
            values["exit_code"] = self.exit_code
        return json.dumps(values, ensure_ascii=False)


def ok(text: str) -> CheckResult:
    """Return the result of a check that found nothing wrong."""
    return CheckResult(Verdict.OK, text)


def warning(text: str, advice: str = "") -> CheckResult:
    """Return the result of one that works, and is odd."""
    return CheckResult(Verdict.WARNING, text, advice)


def skipped(text: str, advice: str = "") -> CheckResult:
    """Return the result of one that was not made, and why."""
    return CheckResult(Verdict.SKIPPED, text, advice)


def unproven(text: str, advice: str = "") -> CheckResult:
    """Return the result of one that found nothing wrong and proves nothing."""
    return CheckResult(Verdict.UNPROVEN, text, advice, NOT_PROVEN)


def waiting(text: str) -> CheckResult:
    """Return what to print of a check that goes on."""
    return CheckResult(Verdict.WAITING, text)


def failed(text: str, exit_code: int, advice: str = "") -> CheckResult:
    """Return the result of one that failed."""
    return CheckResult(Verdict.FAILED, text, advice, exit_code)


def cut_short(result: CheckResult, seconds: float) -> CheckResult:
    """Return what to say of a failure that had less time than it takes to be sure.

    Args:
        result: the failure.
        seconds: how long it had.
    """
    more = f"; if that tells no more, {result.advice}" if result.advice else ""
    return failed(
        f"not proven within {seconds:.3g} s, to which --timeout limits it: with more "
        f"time it may work, or fail for sure (a PT takes up to a minute to tell of a "
        f"wrong cert)",
        NOT_PROVEN,
        f"leave out --timeout{more}",
    )


def any_is_enough(
    results: Sequence[CheckResult], *, others: bool = False
) -> Sequence[CheckResult]:
    """Turn failures into warnings where one success is enough.

    Args:
        results: those of checks of which one success is enough.
        others: whether there are more of them, which hold.
    """
    if not others and all(result.has_failed for result in results):
        return results
    return [
        replace(result, verdict=Verdict.WARNING, exit_code=0)
        if result.has_failed
        else result
        for result in results
    ]


def exit_code(error: Exception, otherwise: int) -> int:
    """Return the exit code for an error.

    Args:
        error: what a check raised.
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
