"""The relay at scale: what thousands of tunnels leave, and what idle ones hold.

The PT is the far end of `scripts/bench`, which ends connections itself: so what is
counted here is pt-bridge's, and 5,000 tunnels take seconds.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

import bench.far_end
import bench.watched
from bench.far_end import ECHO, HEADER
from integration.support.endpoints import connect, free_port
from integration.support.programs import DEADLINE, wait_until
from pt_bridge.net.sockets import reset
from pt_bridge.relay.pipes import KEPT_PIPES

if TYPE_CHECKING:
    from integration.support.endpoints import Address
    from integration.support.machine import Machine

MESSAGE = b"x" * 64
IN_SEQUENCE = 5_000
IDLE = 2_000
KIB = 1024
# What an idle tunnel may cost (bytes).
IDLE_TUNNEL = 3 * KIB
CLOSED_BY_THE_HOST = 5_000
# How long a tunnel lives on whose host has half-closed it and waits (seconds); none of
# these hosts does, and so no tunnel is there any more long before. At once is the goal,
# and a busy machine may take a while.
LINGER = 600
NO_LINGER = DEADLINE
# So many first, for what is imported or kept once.
WARM_UP = 100


class Relay:
    """A pt-bridge between a test and the far end.

    Attributes:
        address: where it listens.
    """

    def __init__(self, machine: Machine) -> None:
        pt = machine.folder / "obfs4proxy"
        shutil.copy(bench.far_end.__file__, pt)
        pt.write_text(f"#!{sys.executable} -I\n{pt.read_text()}")
        pt.chmod(0o755)
        self.address: Address = ("127.0.0.1", free_port())
        # With a session, connections are kept to be used again, for a while.
        options = f"transport=obfs3;session=0;linger={LINGER}"
        self._program = machine.start(
            sys.executable,
            *("-I", str(Path(bench.watched.__file__)), "client"),
            *("--exec", str(pt), "--plugin-opts", options),
            *("--remote", "127.0.0.1:1", "--local", "{}:{}".format(*self.address)),
        )
        self._program.wait_for("ready: ")
        self._process = psutil.Process(self._program.pid)
        at_rest = self.descriptors
        self.connect_in_turn(WARM_UP)
        self.come_to_rest(at_rest)

    def connect(self) -> socket.socket:
        """Open a tunnel and see an echo through it."""
        sock = connect(self.address)
        try:
            sock.sendall(HEADER.pack(ECHO, 0) + MESSAGE)
            assert receive(sock) == MESSAGE
        except BaseException:
            sock.close()
            raise
        return sock

    def connect_in_turn(self, number: int) -> None:
        """Open so many tunnels, and close each in one way or another."""
        for turn in range(number):
            far_end_closes = turn % 3 == 0
            with connect(self.address) as sock:
                size = len(MESSAGE) if far_end_closes else 0
                sock.sendall(HEADER.pack(ECHO, size) + MESSAGE)
                assert receive(sock) == MESSAGE
                if far_end_closes:
                    assert sock.recv(1) == b""
                elif turn % 3 == 1:
                    reset(sock)

    @property
    def descriptors(self) -> dict[str, int]:
        """How many descriptors it has, of each kind."""
        kinds = dict.fromkeys(("pipe", "socket", "other"), 0)
        for name in os.listdir(f"/proc/{self._process.pid}/fd"):
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                kind, _, _ = os.readlink(
                    f"/proc/{self._process.pid}/fd/{name}"
                ).partition(":")
                kinds[kind if kind in kinds else "other"] += 1
        return kinds

    @property
    def memory(self) -> int:
        """How many bytes of memory are its own."""
        return int(self._process.memory_full_info().uss)

    def tasks(self) -> int:
        """Ask how many asyncio tasks it has."""
        before = len(self._program.output)
        self._program.signal(bench.watched.TELL)
        return int(self._program.wait_for("tasks ", after=before).split()[1])

    def come_to_rest(
        self, descriptors: dict[str, int], *, within: float = DEADLINE
    ) -> None:
        """Wait until it has these descriptors again, and pipes that it keeps."""
        most = descriptors["pipe"] + 2 * KEPT_PIPES

        def is_at_rest() -> bool:
            now = self.descriptors
            return now["pipe"] <= most and now == {**descriptors, "pipe": now["pipe"]}

        wait_until(is_at_rest, f"{descriptors} again", within=within)


def receive(sock: socket.socket) -> bytes:
    """Read an echo."""
    data = b""
    while len(data) < len(MESSAGE):
        more = sock.recv(len(MESSAGE) - len(data))
        assert more, "the connection ended early"
        data += more
    return data


@pytest.fixture
def relay(machine: Machine) -> Relay:
    """Run a pt-bridge; the machine stops it."""
    return Relay(machine)


def test_5_000_tunnels_in_sequence_leave_nothing(relay: Relay) -> None:
    """Not one descriptor, task or pipe more than before."""
    before, tasks = relay.descriptors, relay.tasks()
    relay.connect_in_turn(IN_SEQUENCE)
    relay.come_to_rest(before)
    assert relay.tasks() == tasks


def test_5_000_tunnels_that_their_hosts_close_do_not_linger(relay: Relay) -> None:
    """The kernel tells who has closed for good from who waits."""
    before, tasks = relay.descriptors, relay.tasks()
    for _ in range(CLOSED_BY_THE_HOST):
        relay.connect().close()
    relay.come_to_rest(before, within=NO_LINGER)
    assert relay.tasks() == tasks


def test_an_idle_tunnel_costs_its_two_sockets_and_little_memory(relay: Relay) -> None:
    """<= 3 KiB, 2 descriptors and no task, at 2,000 idle tunnels."""
    before, tasks, memory = relay.descriptors, relay.tasks(), relay.memory
    with contextlib.ExitStack() as stack:
        for _ in range(IDLE):
            stack.enter_context(relay.connect())
        assert relay.descriptors["socket"] == before["socket"] + 2 * IDLE
        assert relay.descriptors["pipe"] <= before["pipe"] + 2 * KEPT_PIPES
        assert relay.tasks() == tasks
        assert (relay.memory - memory) / IDLE <= IDLE_TUNNEL
