"""What doctor finds, as text, as JSON and as an exit code."""

from __future__ import annotations

import json

import pytest

from pt_bridge.doctor.report import (
    Verdict,
    any_is_enough,
    exit_code,
    failed,
    ok,
    skipped,
    warning,
)
from pt_bridge.errors import (
    NO_ANSWER,
    NO_ENTRY,
    NO_HOST,
    ArgumentsRejected,
    ConnectRefused,
    LoginRefused,
    NotOffered,
    OptionsError,
    Unreached,
    Unresolved,
)


def test_a_step_is_a_line_and_its_advice_another() -> None:
    """One line each with its verdict and time."""
    result = failed("it is broken", 66, "mend it").of("server", 1.234)
    first, second = result.as_text().splitlines()
    assert first.split() == ["failed", "1.23s", "server:", "it", "is", "broken"]
    assert second.strip() == "try: mend it"
    assert second.index("try") == first.index("server")
    assert ok("it holds").of("server", 0.0).as_text().count("\n") == 0


def test_a_step_is_an_object_for_programs() -> None:
    """With --json; the texts stay as they are."""
    result = failed("é is broken", 66, "mend it").of("server", 1.2345678)
    line = result.as_json()
    assert "\n" not in line
    assert "é" in line
    assert json.loads(line) == {
        "link": "server",
        "verdict": "failed",
        "seconds": 1.235,
        "text": "é is broken",
        "advice": "mend it",
        "exit_code": 66,
    }


@pytest.mark.parametrize("make", [ok, warning, skipped])
def test_only_what_failed_has_an_exit_code(make: object) -> None:
    assert callable(make)
    result = make("text")
    assert not result.has_failed
    assert result.exit_code == 0
    assert "exit_code" not in json.loads(result.as_json())


def test_where_any_will_do_a_failure_is_a_warning() -> None:
    """FE-17: the alternatives in SS_REMOTE_HOST."""
    results = any_is_enough([failed("a", 68, "advice"), ok("b")])
    assert [result.verdict for result in results] == [Verdict.WARNING, Verdict.OK]
    assert [result.exit_code for result in results] == [0, 0]
    assert results[0].advice == "advice"


def test_where_all_failed_they_stay_failures() -> None:
    results = [failed("a", 68), failed("b", 68)]
    assert any_is_enough(results) == results
    (only,) = any_is_enough([failed("a", 68)], others=True)
    assert only.verdict is Verdict.WARNING


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OptionsError("text"), 65),
        (NotOffered("text"), 69),
        (ArgumentsRejected("text"), 65),
        (LoginRefused("text"), 69),
        (Unresolved("text"), NO_HOST),
        (Unreached("text", 111), NO_HOST),
        (ConnectRefused("text"), NO_ENTRY),
        (TimeoutError(), NO_ENTRY),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_tells_its_exit_code_or_the_link_does(
    error: Exception, code: int
) -> None:
    """ER-01: the codes are part of the contract."""
    assert exit_code(error, NO_ENTRY) == code
    assert (NO_HOST, NO_ENTRY, NO_ANSWER) == (68, 77, 66)
