"""One tunnel by hand: what signals mean to it."""

from __future__ import annotations

import os
import signal
import socket
from typing import TYPE_CHECKING

import pytest

from tests.process.test_succession import (
    ENDED,
    NUMBER_READY,
    client,
    open_tunnel,
    replaced,
    server,
)
from tests.support.processes import CLIENT, exchange

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.processes import Bench

# What the PT is told of a client that may not come in.
DENIED = "10010000"


@pytest.fixture
def far(bench: Bench) -> socket.socket:
    return bench.listen()


def test_a_hangup_replaces_a_program_that_was_upgraded(
    bench: Bench, far: socket.socket
) -> None:
    """And leaves one that is the same."""
    program = client(bench, far)
    program.signal(signal.SIGHUP)
    program.said("reloaded: ")
    content = bench.pt.path.read_text()
    new = bench.pt.path.with_name("new")
    new.write_text(f"{content}# another version\n")
    new.chmod(0o755)
    os.replace(new, bench.pt.path)
    program.signal(signal.SIGHUP)
    program.said("replacing the PT")
    replaced(bench, program)
    exchange(*open_tunnel(bench, far))
    program.said(ENDED)
    bench.stop(program)


def test_under_shadowsocks_nothing_is_replaced(bench: Bench) -> None:
    """SIGUSR2 means nothing there."""
    bench.pt.play(*CLIENT)
    program = bench.client()
    program.said(NUMBER_READY)
    program.signal(signal.SIGUSR2)
    program.signal(signal.SIGUSR1)
    program.said("status: up ")
    bench.stop(program)
    assert "replacing" not in program.text


def test_a_wrong_file_is_named_and_nothing_is_said_to_be_reloaded(
    bench: Bench, far: socket.socket, tmp_path: Path
) -> None:
    """Where all is right again, what was read is named, too."""
    deny = tmp_path / "deny"
    deny.write_text("# nobody\n")
    program = server(bench, far, f"--deny={deny}")
    deny.write_text("nonsense\n")
    program.signal(signal.SIGHUP)
    program.said("line 1: 'nonsense' is no IP address")
    deny.write_text("# nobody\n")
    program.signal(signal.SIGHUP)
    program.said("reloaded: PTs are started as pt-bridge.conf says now, and --deny")
    bench.stop(program)
    assert program.text.count("reloaded") == 1


def test_a_list_does_not_hold_where_the_rest_cannot_be_reloaded(
    bench: Bench, far: socket.socket, tmp_path: Path
) -> None:
    """What is said to go on as before does."""
    deny = tmp_path / "deny"
    deny.write_text("# nobody\n")
    program = server(bench, far, f"--deny={deny}")
    deny.write_text("127.0.0.0/8\n")
    moved = bench.pt.path.rename(bench.pt.path.with_name("moved"))
    program.signal(signal.SIGHUP)
    program.said("going on as before")
    exchange(*open_tunnel(bench, far))
    moved.rename(bench.pt.path)
    program.signal(signal.SIGHUP)
    program.said("reloaded: ")
    bench.connect(bench.port)
    assert bench.pt.event("answered", count=2) == DENIED
    bench.stop(program)


def test_a_log_file_that_cannot_be_opened_anew_keeps_nothing_else_back(
    bench: Bench, far: socket.socket, tmp_path: Path
) -> None:
    """And nothing is said to be as before that is not."""
    folder = tmp_path / "logs"
    folder.mkdir()
    program = server(bench, far, f"--logfile={folder / 'log'}")
    folder.rename(tmp_path / "other")
    program.signal(signal.SIGHUP)
    program.said(f"cannot write the log file {folder / 'log'}: no such file")
    program.said("the log goes on in the old file")
    program.said("reloaded: ")
    bench.stop(program)
    assert "as before" not in program.text
