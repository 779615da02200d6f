"""What another plugin writes, and the line that tells why it ended."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest

from pt_bridge.errors import ProgramError
from pt_bridge.files.program import FoundProgram
from pt_bridge.plugin.process import PluginProcess
from tests.support.tcp import turn_until

if TYPE_CHECKING:
    from tests.support.processes import Bench

LIMIT = 30.0


def process(bench: Bench, *steps: str) -> PluginProcess:
    plugin = bench.install("obfs-local")
    plugin.play(*steps)
    found = FoundProgram(str(plugin.path), [], "", {}, [])
    return PluginProcess("obfs-local", found, {})


async def test_what_it_writes_is_in_our_log_but_not_for_each_connection(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """SE-10: what it writes at its start, and of trouble; the rest is for debugging."""
    caplog.set_level(logging.DEBUG, "pt_bridge")
    steps = ["say starting", "write options are in /x/client-options.txt", "tell said"]
    steps += ["await", "say a connection"]  # there is no order between two pipes
    steps += ["await", "write WARNING: a trouble", "exit 0"]
    async with asyncio.timeout(LIMIT), process(bench, *steps) as running:
        await turn_until(lambda: len(caplog.messages) == 2)
        running.listens()
        plugin = bench.folder / "obfs-local/obfs-local.gate"
        plugin.write_bytes(b"x")
        await turn_until(lambda: len(caplog.messages) == 3)
        plugin.write_bytes(b"x")
        await running.ended()
        assert running.take_news() == "obfs-local: WARNING: a trouble"
    assert {record.getMessage(): record.levelno for record in caplog.records} == {
        "obfs-local: starting": logging.INFO,
        "obfs-local: options are in /x/client-options.txt": logging.DEBUG,
        "obfs-local: a connection": logging.DEBUG,
        "obfs-local: WARNING: a trouble": logging.INFO,
    }


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([], ""),
        (["write why"], "why"),
        # Of several errors the first says what is wrong (simple-obfs).
        (["say fine", "write ERROR: one", "write FATAL: two"], "ERROR: one"),
        (["write error", "write fine", "write failed to"], "failed to"),
        (["write panic: bad", "write main.main()"], "panic: bad"),
    ],
)
async def test_the_line_that_says_why_it_ended_is_known(
    bench: Bench, steps: list[str], words: str
) -> None:
    async with asyncio.timeout(LIMIT), process(bench, *steps, "exit 1") as running:
        await running.ended()
        assert running.last_words == words


async def test_nobody_waits_for_what_it_writes_when_it_is_told_to_end(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "pt_bridge")
    async with asyncio.timeout(LIMIT), process(bench, "deaf", "tell deaf") as running:
        running.terminate()
        running._hear(running._lines[0], b"error: I was told to end\n")
        assert running.last_words == ""
    assert "told to end" not in caplog.text


async def test_one_that_cannot_be_started_is_an_error(bench: Bench) -> None:
    with pytest.raises(ProgramError, match="cannot start /no/such"):
        async with PluginProcess("x", FoundProgram("/no/such", [], "", {}, []), {}):
            pass
