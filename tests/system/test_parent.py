"""The host that ends without a word: pipes that close, real parents that die."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pt_bridge.system import parent
from tests.support.processes import DEADLINE, Program

if TYPE_CHECKING:
    from pathlib import Path

WATCHER = """
import asyncio
from pt_bridge.system import parent

async def watch():
    gone = asyncio.Event()
    with parent.watched(asyncio.get_running_loop(), gone.set):
        print("watching", flush=True)
        await gone.wait()
    print("gone", flush=True)

asyncio.run(watch())
"""


async def turns() -> None:
    """Let the loop run what is due."""
    for _ in range(5):
        await asyncio.sleep(0)  # one turn


async def test_the_end_of_a_stdin_pipe_is_the_hosts() -> None:
    """LC-06, HQ-05: what comes before it is thrown away."""
    read, write = os.pipe()
    gone = asyncio.Event()
    try:
        with parent.watched(asyncio.get_running_loop(), gone.set, stdin=read):
            os.write(write, b"x" * 10_000)
            await turns()
            assert not gone.is_set()
            os.close(write)
            await gone.wait()
    finally:
        os.close(read)


async def test_the_end_of_a_stdin_socket_is_the_hosts() -> None:
    """LC-06."""
    ours, hosts = socket.socketpair()
    gone = asyncio.Event()
    with (
        ours,
        parent.watched(asyncio.get_running_loop(), gone.set, stdin=ours.fileno()),
    ):
        hosts.close()
        await gone.wait()


async def test_a_stdin_that_another_was_quicker_to_read_is_no_end() -> None:
    """LC-06, HQ-07: hosts leave us a second copy of it."""
    read, write = os.pipe()
    copy = os.dup(read)
    os.set_blocking(read, False)
    gone = asyncio.Event()
    loop = asyncio.get_running_loop()
    try:
        with (
            parent.watched(loop, gone.set, stdin=read),
            parent.watched(loop, gone.set, stdin=copy),
        ):
            os.write(write, b"x")
            await turns()
            assert not gone.is_set()
    finally:
        for descriptor in (read, write, copy):
            os.close(descriptor)


@pytest.mark.parametrize("kind", ["null", "file"])
async def test_any_other_stdin_means_nothing(kind: str, tmp_path: Path) -> None:
    """LC-06, HQ-05: shadowsocks-rust gives its plugin /dev/null."""
    path = os.devnull
    if kind == "file":
        path = str(tmp_path / "stdin")
        (tmp_path / "stdin").write_bytes(b"")
    stdin = os.open(path, os.O_RDONLY)
    gone = asyncio.Event()
    try:
        with parent.watched(asyncio.get_running_loop(), gone.set, stdin=stdin):
            await turns()
            assert not gone.is_set()
    finally:
        os.close(stdin)


async def test_nothing_is_watched_behind_the_block() -> None:
    read, write = os.pipe()
    gone = asyncio.Event()
    with parent.watched(asyncio.get_running_loop(), gone.set, stdin=read):
        pass
    os.close(write)
    await turns()
    assert not gone.is_set()
    os.close(read)


def test_a_parent_that_dies_is_the_host() -> None:
    """LC-07: shadowsocks-rust killed with SIGKILL; stdin is /dev/null."""
    watcher = [sys.executable, "-c", WATCHER]
    parent = Program(
        ["/bin/sh", "-c", '"$@" & wait', "sh", *watcher],
        {"PATH": "/bin"},
        stderr=subprocess.DEVNULL,
    )
    try:
        parent.printed(b"watching\n")
        parent.process.kill()
        parent.process.wait(DEADLINE)
        parent.printed(b"gone\n")
    finally:
        parent.close()


def test_a_stdin_that_ends_before_we_look_is_the_hosts_end() -> None:
    """LC-06, HQ-05."""
    done = subprocess.run(
        [sys.executable, "-c", WATCHER],
        input=b"",
        capture_output=True,
        check=True,
        timeout=DEADLINE,
    )
    assert done.stdout == b"watching\ngone\n"
