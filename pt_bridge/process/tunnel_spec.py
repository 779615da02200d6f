"""What one tunnel is to be, and where its clients connect."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import socket
from typing import TYPE_CHECKING, NamedTuple

from pt_bridge.errors import ListenError
from pt_bridge.net.bind import bind
from pt_bridge.protocol.address import overlap
from pt_bridge.udp.sockets import bind as bind_udp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Union

    from pt_bridge.options.config import Config
    from pt_bridge.plans.plan import Plan
    from pt_bridge.protocol.address import Address

    Place = Union[Address, "UdpAddress"]  # noqa: UP007 - of a class that is to come
    # By place, those that listen, or hear, there.
    Sockets = Mapping[Place, socket.socket]

# How long a PT may take to close its port, and how often to look (seconds).
RELEASE_LIMIT = 5.0
RELEASE_INTERVAL = 0.05


class UdpAddress(NamedTuple):
    """Where datagrams come to."""

    address: Address


class TunnelSpec(NamedTuple):
    """What one tunnel is to be.

    Attributes:
        config: what its bridge is made of.
        listen: where its clients connect.
        plan: what the file of tunnels says of it; None without one.
    """

    config: Config
    listen: Sequence[Address]
    plan: Plan | None = None

    @property
    def outer(self) -> Sequence[Address]:
        """Where we listen ourselves, and not the PT."""
        return self.listen if self.config.front or not self.config.server else ()

    @property
    def datagrams(self) -> Sequence[UdpAddress]:
        """Where datagrams come to a socket of ours."""
        hears = self.config.udp and not self.config.server
        return [UdpAddress(each) for each in self.listen] if hears else []

    @property
    def where(self) -> str:
        """How a sentence about it begins, where there are several."""
        return "" if self.plan is None else f"{self.plan.where}: "

    def in_its_words(self, what: object) -> object:
        """Return what a sentence says, with the names that its owner has for things."""
        return what if self.plan is None else self.plan.in_its_words(str(what))

    @property
    def of_pt(self) -> Sequence[Address]:
        """Where the PT listens, and nobody else can."""
        return () if self.outer else self.listen


def listen(
    wanted: TunnelSpec, held: Sockets | None = None, taken: Iterable[Address] = ()
) -> dict[Place, socket.socket]:
    """Return sockets for where a tunnel's clients connect, and send datagrams.

    Args:
        wanted: what the tunnel is to be.
        held: sockets that listen already, which are shared where they fit.
        taken: where other tunnels of ours listen. The kernel would not tell of those
            whose sockets systemd has: each who asks is given the same.

    Raises:
        ListenError: an address cannot be listened on; then nothing is left open.
    """
    for one, other in itertools.product(wanted.listen, taken):
        if overlap(one, other):
            raise ListenError(
                f"cannot listen on port {one.port}: another tunnel still does"
            )
    with contextlib.ExitStack() as stack:
        made: dict[Place, socket.socket] = {}
        places: list[Place] = [*wanted.outer, *wanted.datagrams]
        for place in places:
            if held and place in held:
                sock = held[place].dup()
            elif isinstance(place, UdpAddress):
                sock = bind_udp(place.address)
            else:
                is_server = wanted.config.server
                descriptor = bind(place, patience=0, is_server=is_server)
                sock = socket.socket(fileno=descriptor)
            made[place] = stack.enter_context(sock)
            # Whoever shares it shares that, too: one who waited would wait in accept().
            sock.setblocking(False)
        for address in wanted.of_pt:
            os.close(bind(address, patience=0, is_server=True))
        stack.pop_all()
    return made


def has_to_wait(wanted: TunnelSpec, held: Sockets, of_pts: Iterable[Address]) -> bool:
    """Whether a tunnel can listen only once somebody else of ours does not any more.

    Args:
        wanted: what the tunnel is to be.
        held: our own sockets that listen now.
        of_pts: where PTs listen now.
    """
    ours = [each for each in held if not isinstance(each, UdpAddress)]
    taken = [*of_pts, *(each for each in ours if each not in wanted.outer)]
    return any(overlap(one, other) for one in wanted.listen for other in taken)


async def become_free(
    wanted: Callable[[], TunnelSpec | None],
    taken: Callable[[], Iterable[Address]] = tuple,
) -> None:
    """Wait until nobody listens where a tunnel wants to, or for a while.

    Args:
        wanted: returns what the tunnel is to be; None once it is to be nothing.
        taken: returns where other tunnels of ours listen.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + RELEASE_LIMIT
    while loop.time() < end and (now := wanted()) is not None:
        try:
            made = listen(now, taken=taken())
        except ListenError:
            await asyncio.sleep(RELEASE_INTERVAL)  # nobody would tell us
        else:
            for sock in made.values():
                sock.close()
            return
