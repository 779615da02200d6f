"""What doctor's checks have found."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pt_bridge.doctor.report import CheckResult


def the_failed(results: Sequence[CheckResult], name: str, code: int) -> CheckResult:
    """Return the last result: this check has failed, and no other one before it."""
    *before, last = results
    assert (last.link, last.exit_code) == (name, code), last
    assert last.has_failed
    assert not any(result.has_failed for result in before)
    return last
