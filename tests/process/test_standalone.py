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
)
from tests.support.processes import CLIENT, exchange

if TYPE_CHECKING:
    from tests.support.processes import Bench


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
