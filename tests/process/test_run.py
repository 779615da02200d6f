"""A process that carries connections: how its end is told."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.processes import Bench

PROGRAM = """\
import os, sys
from pt_bridge.process.run import LogSettings, run_logged
from pt_bridge.errors import OptionsError, PtBridgeError, PtExited
async def work():
    {work}
settings = LogSettings("info", "obfs4", {file!r})
try:
    run_logged(work, settings, os.environb, lambda text: text)
except PtBridgeError as error:
    print(type(error).__name__, error.exit_code)
"""


@pytest.mark.parametrize(
    ("work", "file", "told"),
    [
        ("return", None, ""),
        ("raise OptionsError('x')", None, "OptionsError 65"),
        ("raise PtExited('x')", None, "PtExited 75"),
        ("raise KeyError('x')", None, "Bug 70"),
        ("return", "/nowhere/log", "StateError 73"),
    ],
)
def test_a_failure_has_its_exit_code(
    bench: Bench, work: str, file: str | None, told: str
) -> None:
    program = bench.run(
        [sys.executable, "-c", PROGRAM.format(work=work, file=file)], bench.variables
    )
    assert program.wait() == 0
    assert program.output.decode().strip() == told
    assert ("a bug in pt-bridge" in program.text) == ("KeyError" in work)


def test_a_relative_log_file_is_below_the_state_directory(bench: Bench) -> None:
    code = PROGRAM.format(
        work="from pt_bridge.system.log import logger; logger.info('hello')",
        file="a.log",
    )
    assert bench.run([sys.executable, "-c", code], bench.variables).wait() == 0
    assert "hello" in (bench.folder / "state/pt-bridge/log/a.log").read_text()
