"""What a prober sees of a front, and of the bare PT: the same."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import socket
from typing import TYPE_CHECKING, NamedTuple

import pytest

from integration.support.endpoints import free_port
from integration.support.probes import Probe, Seen, probes, see
from pt_bridge.front.front import Front
from pt_bridge.front.hangups import Hangups
from pt_bridge.net.bind import bind
from pt_bridge.protocol.address import Address
from pt_bridge.relay.pipes import PipePool
from pt_bridge.relay.splice import pump_maker
from pt_bridge.system import linux

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.support.endpoints import Service
    from integration.support.machine import Machine
    from integration.support.programs import Program

# An identity whose server hangs up on strangers as soon as any does, after 30 s.
IDENTITY = ";".join(
    (
        "obfs4:node-id=00112233445566778899aabbccddeeff00112233",
        f"obfs4:private-key={'42' * 32}",
        f"obfs4:drbg-seed={'0' * 45}12f",
    )
)
URL = "webtunnel:url=http\\://127.0.0.1/path"
LOOPBACK = "127.0.0.1"
# How long to wait for an end (seconds): obfs4's servers hang up on strangers after 30 s
# and up to 60 s more, which the identity decides; webtunnel's never hangs up on some.
LIMITS = {"obfs4proxy": 120.0, "lyrebird": 120.0, "webtunnel-server": 20.0}
# How far apart the same end may come (seconds). The goal is 0.02, and the times are
# printed: a busy machine proves nothing.
APART = 5.0
# Between two probes, so that their ends do not come all at once (seconds).
BETWEEN = 0.03
# What a client may wait for a PT (seconds); nobody does here.
PATIENCE = 120.0


class Comparison(NamedTuple):
    """What one kind of probe saw of the bare PT, and of the front before it."""

    pt: str
    probe: Probe
    bare: Seen
    fronts: Seen

    @property
    def later(self) -> float:
        """How much later the front's end came, in seconds."""
        return self.fronts.seconds - self.bare.seconds

    def __str__(self) -> str:
        return (
            f"{self.pt:16} {self.probe.name:36} {self.bare!s:24}"
            f" {self.bare.seconds:7.3f} s {1000 * self.later:+7.1f} ms"
        )


class Pt:
    """A PT's server that runs."""

    def __init__(self, machine: Machine, name: str, service: Service) -> None:
        """Start it, and wait until it is ready."""
        transport = "webtunnel" if name == "webtunnel-server" else "obfs4"
        self.name = name
        self.address = Address(LOOPBACK, free_port())
        state = machine.folder / name
        state.mkdir(exist_ok=True)
        variables = {
            **machine.with_lyrebird(),
            "TOR_PT_MANAGED_TRANSPORT_VER": "1",
            "TOR_PT_STATE_LOCATION": str(state),
            "TOR_PT_SERVER_TRANSPORTS": transport,
            "TOR_PT_SERVER_BINDADDR": f"{transport}-{self.address}",
            "TOR_PT_SERVER_TRANSPORT_OPTIONS": (
                IDENTITY if transport == "obfs4" else URL
            ),
            "TOR_PT_ORPORT": f"{LOOPBACK}:{service.address[1]}",
            "TOR_PT_EXTENDED_SERVER_PORT": "",
        }
        self._program: Program = machine.start(name, variables=variables)
        self._program.wait_for(f"SMETHOD {transport}")
        self._program.wait_for("SMETHODS DONE")
        self._stat = linux.open_stat(self._program.pid)

    def has_died(self) -> bool:
        """Return whether it has begun to exit."""
        return linux.is_ending(self._stat)

    def kill(self) -> None:
        """Let it die."""
        self._program.signal(signal.SIGKILL)

    def close(self) -> None:
        """Let it die: one lyrebird of thousands did not end within 30 s of SIGTERM."""
        self.kill()
        if self._stat is not None:
            os.close(self._stat)


@contextlib.contextmanager
def front_of(pt: Pt) -> Iterator[tuple[Front, tuple[str, int]]]:
    """Have a front before a PT; return it, and where it is."""
    complaints: list[str] = []
    sock = socket.socket(fileno=bind(Address(LOOPBACK, 0)))
    place = sock.getsockname()
    with (
        PipePool() as pool,
        Front(
            asyncio.get_running_loop(),
            [sock],
            complain=complaints.append,
            budget=1000,
            patience=PATIENCE,
            pump=pump_maker(pool),
        ) as front,
    ):
        front.open(pt.address, pt.has_died)
        yield front, place
    assert complaints == []


async def compare(pt: Pt, begins: Iterator[float]) -> list[Comparison]:
    """Probe a PT, and a front before it, in every way beside each other.

    Args:
        pt: the PT.
        begins: when to begin with each, on the loop's clock.
    """
    limit = LIMITS[pt.name]
    with Hangups(asyncio.get_running_loop()) as hangups, front_of(pt) as (_, place):
        places = (pt.address.host, pt.address.port), place
        async with asyncio.TaskGroup() as group:
            tasks = [
                [
                    group.create_task(
                        see(place, probe, hangups, begin=begin, limit=limit)
                    )
                    for place in places
                ]
                for begin, probe in zip(begins, probes(), strict=False)
            ]
    return [
        Comparison(pt.name, probe, *(task.result() for task in both))
        for probe, both in zip(probes(), tasks, strict=True)
    ]


@pytest.mark.waits(30)
def test_a_prober_sees_the_same_with_and_without_a_front(
    machine: Machine, service: Service
) -> None:
    """Whoever can tell one server from another can block all that look like it."""

    async def compare_all() -> list[Comparison]:
        begins = itertools.count(asyncio.get_running_loop().time(), BETWEEN)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(compare(pt, begins)) for pt in pts]
        return [each for task in tasks for each in task.result()]

    with contextlib.ExitStack() as stack:
        pts = [
            stack.enter_context(contextlib.closing(Pt(machine, name, service)))
            for name in LIMITS
        ]
        compared = asyncio.run(compare_all())
    print("", *compared, sep="\n")  # noqa: T201 - how late the front is
    for each in compared:
        assert each.fronts[:3] == each.bare[:3], f"{each}, the front's: {each.fronts}"
        assert abs(each.later) <= APART, each
    ends = {(each.pt, each.bare.end) for each in compared}
    assert {("obfs4proxy", "FIN"), ("lyrebird", "FIN")} <= ends


@pytest.mark.parametrize("name", ["obfs4proxy", "lyrebird"])
def test_the_port_outlives_a_pt_that_is_killed(
    machine: Machine, service: Service, name: str
) -> None:
    """Who has said nothing has the next PT; what was carried is reset, not ended."""

    async def outlive() -> None:
        loop = asyncio.get_running_loop()
        with contextlib.ExitStack() as stack:
            pt = stack.enter_context(contextlib.closing(Pt(machine, name, service)))
            front, place = stack.enter_context(front_of(pt))

            async def connect(data: bytes) -> socket.socket:
                sock = stack.enter_context(socket.socket())
                sock.setblocking(False)
                await loop.sock_connect(sock, place)
                await loop.sock_sendall(sock, data)
                return sock

            silent, speaks = await connect(b""), await connect(b"x")
            # Whoever came before has been relayed once this one's end is passed on.
            ends = await connect(b"x")
            ends.shutdown(socket.SHUT_WR)
            assert await loop.sock_recv(ends, 1) == b""
            pt.kill()
            with pytest.raises(ConnectionResetError):
                await loop.sock_recv(speaks, 1)
            late = await connect(b"x")
            late.shutdown(socket.SHUT_WR)
            new = stack.enter_context(contextlib.closing(Pt(machine, name, service)))
            front.open(new.address, new.has_died)
            assert await loop.sock_recv(late, 1) == b""
            silent.shutdown(socket.SHUT_WR)
            assert await loop.sock_recv(silent, 1) == b""

    asyncio.run(outlive())
