"""A program that we run: its start, what it writes, its end."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from pt_bridge.system.child_process import LINES_KEPT, ChildProcess, Command

if TYPE_CHECKING:
    from pathlib import Path

LIMIT = 20.0


def shell(script: str, folder: str = "/") -> Command:
    environment = {b"PATH": b"/usr/bin:/bin", b"WORD": b"word"}
    return Command(["/bin/sh", "-c", script], environment, folder=folder)


async def test_what_it_prints_is_kept_both_streams_and_the_last_line(
    tmp_path: Path,
) -> None:
    async with (
        asyncio.timeout(LIMIT),
        shell("pwd; echo $WORD >&2; echo; printf end", str(tmp_path)) as command,
    ):
        await command.ended()
        assert list(command.lines) == [str(tmp_path), "word", "end"]


async def test_a_line_is_waited_for(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    async with asyncio.timeout(LIMIT), shell(f"echo one; cat {fifo}") as command:
        assert await command.said(lambda line: line == "one")
        descriptor = os.open(fifo, os.O_RDWR)
        os.write(descriptor, b"two\n")
        assert await command.said(lambda line: line == "two")
        os.close(descriptor)
        assert not await command.said(lambda line: line == "three")


async def test_of_many_lines_the_last_are_kept() -> None:
    async with asyncio.timeout(LIMIT), shell(f"seq {2 * LINES_KEPT}") as command:
        await command.ended()
        assert list(command.lines)[-1] == str(2 * LINES_KEPT)
        assert len(command.lines) == LINES_KEPT


@pytest.mark.parametrize("ignore", ["", "trap '' TERM;"])
async def test_leaving_the_block_ends_it_and_what_it_started(ignore: str) -> None:
    script = f"{ignore} sleep 1000 & echo $! $$; wait"
    async with asyncio.timeout(LIMIT), shell(script) as command:
        await command.said(bool)
        pids = [int(word) for word in command.lines[0].split()]
        assert all(map(psutil.pid_exists, pids))
        assert os.getpgid(pids[0]) == pids[1] != os.getpgrp()
        pidfd = os.pidfd_open(pids[0])
    assert not psutil.pid_exists(pids[1])
    # It is killed, too; the kernel may need a moment, and nobody need reap it.
    try:
        assert select.select([pidfd], [], [], LIMIT)[0]
    finally:
        os.close(pidfd)


async def test_a_signal_that_ends_us_in_the_middle_leaves_nothing() -> None:
    """What is cancelled while it ends is killed at once."""
    command = shell("trap '' TERM; echo $$; while :; do sleep 1000; done")

    async def run() -> None:
        async with command:
            await command.said(bool)

    task: asyncio.Task[None]
    async with asyncio.timeout(LIMIT), asyncio.TaskGroup() as group:
        task = group.create_task(run())
        await command.said(bool)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
    assert not psutil.pid_exists(int(command.lines[0]))


async def test_its_signals_are_not_ours() -> None:
    """FE-15: a host may have left some ignored."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    code = "import signal; print(signal.getsignal(signal.SIGHUP).name)"
    try:
        async with Command([sys.executable, "-I", "-c", code], {}) as command:
            await command.ended()
    finally:
        signal.signal(signal.SIGHUP, before)
    assert list(command.lines) == ["SIG_DFL"]


async def test_a_program_that_cannot_be_started_is_an_error() -> None:
    with pytest.raises(FileNotFoundError):
        async with Command(["/no/such/program"], {}):
            pass


class Heard(ChildProcess):
    """Keeps what it writes, and the ends of its pipes."""

    def __init__(self, script: str) -> None:
        environment = {b"PATH": b"/usr/bin:/bin"}
        super().__init__(["/bin/sh", "-c", script], environment)
        self.heard: list[tuple[str, bytes]] = []

    def _on_stdout(self, data: bytes) -> None:
        self.heard.append(("stdout", data))

    def _on_stderr(self, data: bytes) -> None:
        self.heard.append(("stderr", data))

    def _on_exited(self) -> None:
        self.heard.append(("exited", b""))


async def test_both_its_pipes_are_read_to_their_ends_and_then_its_end_is_told() -> None:
    script = "echo out; echo error >&2; exit 3"
    async with asyncio.timeout(LIMIT), Heard(script) as child:
        await child.ended()
        assert child.how_it_ended() == "ended with exit code 3"
    assert b"".join(data for name, data in child.heard if name == "stdout") == b"out\n"
    assert sorted(child.heard) == sorted(
        [
            ("stdout", b"out\n"),
            ("stdout", b""),
            ("stderr", b"error\n"),
            ("stderr", b""),
            ("exited", b""),
        ]
    )
    assert child.heard[-1] == ("exited", b"")


async def test_it_is_asked_to_end_by_the_end_of_its_stdin_and_by_a_signal() -> None:
    """Some programs know only one of the two."""
    script = "trap '' TERM; read line; exit 5"
    async with asyncio.timeout(LIMIT), Heard(script) as child:
        assert not child.is_ending()
        assert child.how_it_ended() == "ended"
        child.terminate()
        child.terminate()
        await child.ended()
        assert child.is_ending()
        assert child.how_it_ended() in (
            "ended with exit code 5",
            "was killed by SIGTERM",
        )
    async with asyncio.timeout(LIMIT), Heard("exec sleep 1000") as child:
        child.terminate()
        await child.ended()
        assert child.how_it_ended() == "was killed by SIGTERM"
