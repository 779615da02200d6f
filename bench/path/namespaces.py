"""Two network namespaces, and a long path between them.

Each has a tun device, and what is written to one is read from the other a while later:
so no kernel needs sch_netem. It takes root, iproute2 and /dev/net/tun.
"""

from __future__ import annotations

import fcntl
import heapq
import os
import random
import select
import struct
import subprocess
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from bench.processes import Unavailable, find

if TYPE_CHECKING:
    from typing import Self

TUN = "/dev/net/tun"
# linux/if_tun.h
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
CLIENT_HOST, SERVER_HOST = "10.9.0.1", "10.9.0.2"
PACKET = 65536  # bytes, as many as one has at most
PACKETS_AT_ONCE = 256
LOOK = 0.1  # how often to see whether it is over (seconds)
# What the kernel learns of one contestant's connections must not serve the next one's.
NO_METRICS = "/proc/sys/net/ipv4/tcp_no_metrics_save"


class LongPath:
    """A path for as long as its block lasts.

    Attributes:
        client, server: what to put before a command, so that it runs on that side.
    """

    def __init__(self, *, round_trip: float, loss: float, seed: int = 1) -> None:
        """Prepare a path.

        Args:
            round_trip: how long a packet takes to go and come back, in seconds.
            loss: the share of packets that is lost, in each direction.
            seed: of the chance by which they are.
        """
        self._one_way = round_trip / 2
        self._loss = loss
        self._chance = random.Random(seed)  # noqa: S311 - no secret
        tag = os.urandom(3).hex()
        self._names = f"ptb-c{tag}", f"ptb-s{tag}"
        self.client, self.server = (
            ("ip", "netns", "exec", name) for name in self._names
        )
        self._ends: list[int] = []
        self._is_over = threading.Event()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Build it.

        Raises:
            Unavailable: this machine, or this user, cannot.
        """
        find("ip")
        with ExitStack() as stack:
            try:
                for name, host in zip(
                    self._names, (CLIENT_HOST, SERVER_HOST), strict=True
                ):
                    self._add(stack, name, host)
            except (OSError, subprocess.CalledProcessError) as error:
                raise Unavailable(f"no network namespace: {error}") from None
            thread = threading.Thread(target=self._carry)
            thread.start()
            stack.callback(thread.join)
            stack.callback(self._is_over.set)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Take it down; nothing may run in it any more."""
        self._stack.close()

    def _add(self, stack: ExitStack, name: str, host: str) -> None:
        """Create a namespace with one end of the path."""
        _do("ip", "netns", "add", name)
        stack.callback(subprocess.run, ["ip", "netns", "del", name], check=False)
        end = os.open(TUN, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        stack.callback(os.close, end)
        request = struct.pack("16sH14x", name.encode(), IFF_TUN | IFF_NO_PI)
        fcntl.ioctl(end, TUNSETIFF, request)
        _do("ip", "link", "set", name, "netns", name)
        _do("ip", "-n", name, "addr", "add", f"{host}/24", "dev", name)
        _do("ip", "-n", name, "link", "set", name, "up")
        _do("ip", "-n", name, "link", "set", "lo", "up")
        _do("ip", "netns", "exec", name, "sh", "-c", f"echo 1 >{NO_METRICS}")
        self._ends.append(end)

    def _carry(self) -> None:
        """Keep each packet for half the round trip, in their order."""
        waiting: list[tuple[float, int, int, bytes]] = []
        number = 0
        while not self._is_over.is_set():
            wait = max(0.0, waiting[0][0] - time.monotonic()) if waiting else LOOK
            for end in select.select(self._ends, [], [], min(wait, LOOK))[0]:
                other = self._ends[1 - self._ends.index(end)]
                for packet in _packets(end):
                    if self._chance.random() >= self._loss:
                        number += 1
                        due = time.monotonic() + self._one_way
                        heapq.heappush(waiting, (due, number, other, packet))
            while waiting and waiting[0][0] <= time.monotonic():
                _, _, end, packet = heapq.heappop(waiting)
                try:
                    os.write(end, packet)
                except OSError:  # its queue is full: lost, as on any path
                    pass


def _packets(end: int) -> list[bytes]:
    packets: list[bytes] = []
    try:
        while len(packets) < PACKETS_AT_ONCE:
            packets.append(os.read(end, PACKET))
    except OSError:  # no more
        pass
    return packets


def _do(*command: str) -> None:
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
