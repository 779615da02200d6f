"""What is accepted on the outer port, and when it is delivered."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pt_bridge.listen.listener import FIRST_BYTE_PATIENCE, MAX_WAITING, Listener
from pt_bridge.net.bind import bind
from pt_bridge.net.sockets import reset
from pt_bridge.protocol.address import Address
from tests.support.clock import Clock
from tests.support.tcp import is_reset, is_silent, read, read_to_end, turn_until, write

if TYPE_CHECKING:
    from collections.abc import Iterator

LOOPBACK = Address("127.0.0.1", 0)
PATIENCE = 30.0


class Port:
    """A listener, the connections that it delivered, and what it said."""

    def __init__(
        self, budget: int, first_byte_patience: float = FIRST_BYTE_PATIENCE
    ) -> None:
        sock = socket.socket(fileno=bind(LOOPBACK))
        self.loop = asyncio.get_running_loop()
        self.clock = Clock()
        self.address = sock.getsockname()
        self.delivered: list[socket.socket] = []
        self.complaints: list[str] = []
        self.listener = Listener(
            self.loop,
            [sock],
            self.delivered.append,
            self.complaints.append,
            budget=budget,
            patience=PATIENCE,
            first_byte_patience=first_byte_patience,
            clock=self.clock.as_loop,
        )
        self.hosts: list[socket.socket] = []

    async def connect(self, data: bytes = b"") -> socket.socket:
        """Act as a host that connects, and perhaps says something."""
        host = socket.socket()
        self.hosts.append(host)
        host.setblocking(False)
        await self.loop.sock_connect(host, self.address)
        if data:
            await write(host, data)
        return host

    async def wait_for(self, number: int) -> None:
        """Wait until so many connections were delivered."""
        await turn_until(lambda: len(self.delivered) >= number)
        assert len(self.delivered) == number

    async def complained(self, number: int) -> None:
        """Wait until so many complaints were made."""
        await turn_until(lambda: len(self.complaints) >= number)
        assert len(self.complaints) == number

    async def bystander(self) -> None:
        """Wait until everything that came before has been looked at.

        A connection is accepted after those before it; once it is seen to have been
        dropped, so were they.
        """
        host = await self.connect()
        host.shutdown(socket.SHUT_WR)
        assert await read_to_end(host) == b""


@contextlib.contextmanager
def port(
    *, budget: int = 1_000_000, first_byte_patience: float = FIRST_BYTE_PATIENCE
) -> Iterator[Port]:
    """Listen, and close everything in the end."""
    built = Port(budget, first_byte_patience)
    try:
        with built.listener:
            yield built
    finally:
        for sock in (*built.hosts, *built.delivered):
            sock.close()


async def test_a_first_byte_delivers_a_connection_with_nothing_read_of_it() -> None:
    """FE-09: and it is ready to be carried (RL-05)."""
    with port() as p:
        p.listener.open()
        assert p.listener.is_open
        host = await p.connect(b"hello")
        await p.wait_for(1)
        (near,) = p.delivered
        assert await read(near, 5) == b"hello"
        assert near.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        await write(near, b"welcome")
        assert await read(host, 7) == b"welcome"


async def test_several_ports_are_one_listener() -> None:
    """A server on several addresses; they share the budget."""
    complaints = list[str]()
    delivered: list[socket.socket] = []
    socks = [socket.socket(fileno=bind(LOOPBACK)) for _ in range(2)]
    addresses = [sock.getsockname() for sock in socks]
    loop = asyncio.get_running_loop()
    listener = Listener(
        loop,
        socks,
        delivered.append,
        complaints.append,
        budget=2,
        patience=PATIENCE,
    )
    with contextlib.ExitStack() as stack:
        with listener:
            listener.open()
            for number, address in enumerate(addresses):
                host = stack.enter_context(socket.create_connection(address))
                host.sendall(bytes([number]))
                await turn_until(lambda: len(delivered) == number + 1)  # noqa: B023
                stack.enter_context(delivered[-1])
                assert delivered[-1].recv(1) == bytes([number])
                assert delivered[-1].getsockname() == address
            last = stack.enter_context(socket.create_connection(addresses[0]))
            last.sendall(b"x")
            await turn_until(lambda: complaints)
            listener.release()
            await turn_until(lambda: len(delivered) == 3)
            stack.enter_context(delivered[-1])
            assert delivered[-1].recv(1) == b"x"
        for address in addresses:
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(address)


async def test_a_silent_connection_is_delivered_after_a_while() -> None:
    """FE-09: in some protocols the server speaks first."""
    with port() as p:
        p.listener.open()
        host = await p.connect()
        await p.bystander()
        p.clock.pass_by(FIRST_BYTE_PATIENCE - 0.001)
        assert p.delivered == []
        p.clock.pass_by(0.001)
        await p.wait_for(1)
        await write(p.delivered[0], b"220 ready")
        assert await read(host, 9) == b"220 ready"


async def test_a_connection_may_be_due_as_soon_as_it_is_accepted() -> None:
    """Front: a PT sees who only connects, and may be the first to speak."""
    with port(first_byte_patience=0) as p:
        p.listener.open()
        (await p.connect()).close()
        host = await p.connect()
        await p.wait_for(2)
        assert await read_to_end(p.delivered[0]) == b""
        await write(p.delivered[1], b"220 ready")
        assert await read(host, 9) == b"220 ready"


async def test_one_that_is_due_at_once_waits_for_the_listener_and_not_for_ever() -> (
    None
):
    """Front: while there is no PT, as any other; who hangs up is dropped."""
    with port(first_byte_patience=0) as p:
        silent, talks = await p.connect(), await p.connect(b"early")
        await p.bystander()
        assert p.delivered == []
        p.listener.open()
        await p.wait_for(2)
        assert is_silent(silent)
        assert await read(p.delivered[1], 5) == b"early"
        assert is_silent(talks)
        p.listener.suspend()
        late = await p.connect()
        await p.bystander()
        p.clock.pass_by(PATIENCE - 0.001)
        assert is_silent(late)
        p.clock.pass_by(0.001)
        assert await is_reset(late)


async def test_at_the_budget_one_that_is_due_at_once_waits_outside() -> None:
    """RL-06: until a place is given back."""
    with port(budget=1, first_byte_patience=0) as p:
        p.listener.open()
        for _ in range(2):
            await p.connect()
        await p.complained(1)
        assert len(p.delivered) == 1
        p.listener.release()
        await p.wait_for(2)


async def test_a_probe_is_never_delivered() -> None:
    """FE-09: shadowsocks-rust connects and closes thousands of times."""
    with port() as p:
        p.listener.open()
        for _ in range(20):
            (await p.connect()).close()
            reset(await p.connect())
        await p.bystander()
        assert p.delivered == []
        await p.connect(b"x")
        await p.wait_for(1)


async def test_a_connection_waits_until_the_listener_is_opened() -> None:
    """FE-08: parked, whatever it says meanwhile."""
    with port() as p:
        talks = await p.connect(b"early")
        silent = await p.connect()
        await p.bystander()
        p.clock.pass_by(FIRST_BYTE_PATIENCE)
        assert p.delivered == []
        assert is_silent(talks)
        assert is_silent(silent)
        p.listener.open()
        await p.wait_for(2)
        assert await read(p.delivered[0], 5) == b"early"


async def test_a_listener_can_be_parked_again() -> None:
    """RL-11: while the PT is dead, nothing is delivered."""
    with port() as p:
        p.listener.open()
        p.listener.suspend()
        assert not p.listener.is_open
        await p.connect(b"x")
        await p.bystander()
        assert p.delivered == []
        p.listener.open()
        await p.wait_for(1)


async def test_nobody_waits_for_ever() -> None:
    """Bounded in time; a reset, for an EOF would look like an answer."""
    with port() as p:
        talks = await p.connect(b"early")
        await p.bystander()
        p.clock.pass_by(PATIENCE - 0.001)
        assert is_silent(talks)
        p.clock.pass_by(0.001)
        assert await is_reset(talks)
        p.listener.open()
        assert p.delivered == []


async def test_a_connection_that_is_taken_back_is_delivered_again() -> None:
    """Where the PT died before anything was read of it."""
    with port() as p:
        p.listener.open()
        host = await p.connect(b"hello")
        await p.wait_for(1)
        p.listener.suspend()
        p.listener.take_back(p.delivered.pop())
        await p.bystander()
        assert p.delivered == []
        p.listener.open()
        await p.wait_for(1)
        assert await read(p.delivered[0], 5) == b"hello"
        await write(p.delivered[0], b"welcome")
        assert await read(host, 7) == b"welcome"


async def test_a_connection_that_hangs_up_while_it_is_parked_is_dropped() -> None:
    """FE-08: nobody waits for it any more."""
    with port() as p:
        gone = await p.connect()
        stays = await p.connect()
        await p.bystander()
        p.clock.pass_by(FIRST_BYTE_PATIENCE)
        gone.shutdown(socket.SHUT_WR)
        assert await read_to_end(gone) == b""
        p.listener.open()
        await p.wait_for(1)
        assert p.delivered[0].getpeername() == stays.getsockname()


async def test_a_question_that_ends_while_it_is_parked_is_kept() -> None:
    """FE-08, RL-04: its sender waits for the answer."""
    with port() as p:
        host = await p.connect(b"question")
        host.shutdown(socket.SHUT_WR)
        await p.bystander()
        p.listener.open()
        await p.wait_for(1)
        assert await read_to_end(p.delivered[0]) == b"question"
        await write(p.delivered[0], b"answer")
        assert await read(host, 6) == b"answer"


async def test_where_too_many_are_parked_the_oldest_is_reset() -> None:
    """FE-08, SE-10: 1,024 may wait."""
    with port() as p:
        for _ in range(MAX_WAITING):
            await p.connect(b"x")
        oldest, second, *_ = p.hosts
        assert is_silent(oldest)
        await p.connect(b"x")
        assert await is_reset(oldest)
        assert is_silent(second)
        p.listener.open()
        await p.wait_for(MAX_WAITING)


async def test_where_too_many_are_silent_the_oldest_goes_on_without_a_byte() -> None:
    """FE-09: once the PT is ready nobody is reset for want of a first byte."""
    with port() as p:
        p.listener.open()
        for _ in range(MAX_WAITING):
            await p.connect()
        assert not p.delivered
        await p.connect()
        await p.wait_for(1)
        assert is_silent(p.hosts[0])


async def test_at_the_budget_accepting_stops_until_a_place_is_given_back() -> None:
    """RL-06, SE-10: and one complaint tells why."""
    with port(budget=2) as p:
        p.listener.open()
        for _ in range(5):
            await p.connect(b"x")
        await p.complained(1)
        for number in (3, 4, 5):
            assert len(p.delivered) == number - 1
            p.listener.release()
            await p.wait_for(number)
        assert len(p.complaints) == 1
        assert "2 connections are open" in p.complaints[0]


async def test_a_parked_connection_that_hangs_up_gives_its_place_back() -> None:
    """RL-06: those that wait outside come in."""
    with port(budget=1) as p:
        p.listener.open()
        silent = await p.connect()
        await p.connect(b"x")
        await p.complained(1)
        assert p.delivered == []
        silent.close()
        await p.wait_for(1)


async def test_a_new_shortage_is_told_of_again() -> None:
    """RL-06: once for each time, however many have to wait."""
    with port(budget=2) as p:
        p.listener.open()
        for number in (1, 2):
            await p.connect(b"x")
            await p.connect(b"x")
            await p.complained(number)
            p.listener.release()
            p.listener.release()
            await p.bystander()  # all who waited are in


EXHAUSTED = """if True:
    import asyncio, resource, socket, sys
    from pt_bridge.listen.listener import Listener
    from pt_bridge.net.bind import bind
    from pt_bridge.protocol.address import Address

    async def main():
        loop = asyncio.get_running_loop()
        delivered, free = [], asyncio.Event()

        def deliver(sock):
            delivered.append(sock)
            if len(delivered) == int(sys.argv[1]):
                free.set()

        def complain(text):
            print(text, flush=True)

        sock = socket.socket(fileno=bind(Address("127.0.0.1", 0)))
        with Listener(
            loop, [sock], deliver, complain, budget=1000, patience=30
        ) as listener:
            listener.open()
            resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
            print(sock.getsockname()[1], flush=True)
            loop.add_reader(0, lambda: (loop.remove_reader(0), make_room()))

            def make_room():
                for each in delivered:
                    each.close()

            await free.wait()
        for each in delivered:
            each.close()
        print("all", flush=True)

    asyncio.run(main())
"""


def test_without_descriptors_accepting_pauses_and_goes_on() -> None:
    """RL-06: EMFILE is told of once, and ends nothing."""
    number = 60
    with subprocess.Popen(
        [sys.executable, "-c", EXHAUSTED, str(number)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        address = ("127.0.0.1", int(child.stdout.readline()))
        with contextlib.ExitStack() as stack:
            for _ in range(number):
                host = stack.enter_context(socket.create_connection(address))
                host.sendall(b"x")
            complaint = child.stdout.readline()
            assert "too many open files" in complaint.lower()
            assert "LimitNOFILE=" in complaint
            child.stdin.write("make room\n")
            child.stdin.flush()
            said = child.stdout.readlines()
    assert said == ["all\n"]
    assert child.returncode == 0


async def test_leaving_the_block_closes_the_port_and_resets_what_is_parked() -> None:
    """FE-08, LC-09, SK-13: an empty EOF would look like an answer."""
    built = Port(1000)
    with contextlib.ExitStack() as stack:
        with built.listener:
            hosts = [await built.connect(data) for data in (b"x", b"")]
            for host in hosts:
                stack.enter_context(host)
            await built.bystander()
        assert [await is_reset(host) for host in hosts] == [True, True]
        with pytest.raises(ConnectionRefusedError):
            await built.connect()
        built.listener.release()  # a tunnel that ends later
        for host in built.hosts:
            host.close()


def test_the_limit_of_descriptors_is_high_enough_for_these_tests() -> None:
    """Or else they would fail for another reason than their own."""
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[1] > 3 * MAX_WAITING
