"""The outer port: bound by `bind`, and what is accepted on it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from pt_bridge.connection import reset
from pt_bridge.errors import ListenError
from pt_bridge.listener import (
    MAX_PARKED,
    WORDS,
    Listener,
    bind,
    explain,
    explain_text,
)
from pt_bridge.protocol.address import Address
from tests.tcp import is_reset, is_silent, read, read_to_end, turn_until, write

if TYPE_CHECKING:
    from collections.abc import Iterator

LOOPBACK = Address("127.0.0.1", 0)
NOBODY = 65534
FOR_EVER = 3600.0


def port_of(sock: socket.socket) -> int:
    port = sock.getsockname()[1]
    assert isinstance(port, int)
    return port


def run_python(code: str, *arguments: object) -> str:
    """Run a child of ours; give what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# bind


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_port_accepts_as_soon_as_it_is_bound(host: str) -> None:
    """FE-04, FE-08: no event loop is needed; the kernel keeps what comes."""
    with bind(Address(host, 0)) as sock:
        assert sock.getsockname()[0] == host
        assert not sock.getblocking()
        with socket.create_connection((host, port_of(sock))):
            pass


def test_a_name_is_resolved() -> None:
    """FE-07: where a host writes 'localhost'."""
    with bind(Address("localhost", 0)) as sock:
        assert sock.getsockname()[0] in ("127.0.0.1", "::1")


def test_a_name_that_means_nothing_is_told_of() -> None:
    """ER-09."""
    with pytest.raises(ListenError, match=r"(?i)name or service not known"):
        bind(Address("pt-bridge.invalid", 8388))


def test_the_ipv6_wildcard_is_not_the_ipv4_one() -> None:
    """FE-07: exactly the address, and nothing wider."""
    with bind(Address("::", 0)) as sock:
        port = port_of(sock)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
        with bind(Address("0.0.0.0", port)):
            pass


def test_a_port_that_was_just_in_use_is_free_for_us() -> None:
    """FE-07: SO_REUSEADDR; connections in TIME_WAIT are no obstacle."""
    with bind(LOOPBACK) as sock:
        address = Address("127.0.0.1", port_of(sock))
        client = socket.create_connection(sock.getsockname())
        server, _ = sock.accept()
        server.close()  # first, so that TIME_WAIT is on the side of the port
        client.close()
    with bind(address, patience=0):
        pass


def test_a_port_that_a_restarting_host_lets_go_of_is_waited_for() -> None:
    """FE-07."""
    holder = bind(LOOPBACK)
    address = Address("127.0.0.1", port_of(holder))
    before = signal.signal(signal.SIGALRM, lambda *_: holder.close())
    try:
        started = time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with bind(address, patience=60):
            assert time.monotonic() - started >= 0.1
    finally:
        signal.signal(signal.SIGALRM, before)


def test_a_port_that_stays_in_use_is_an_error_that_names_the_holder() -> None:
    """FE-07, ER-09: the address, the errno's text, the program and its pid."""
    code = "import socket; s = socket.create_server(('127.0.0.1', 0))\n"
    code += "print(s.getsockname()[1], flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        port = int(holder.stdout.readline())
        name = psutil.Process(holder.pid).name()
        started = time.monotonic()
        with pytest.raises(ListenError) as caught:
            bind(Address("127.0.0.1", port), patience=0.1)
        assert time.monotonic() - started >= 0.1
        holder.communicate("\n")
    assert str(caught.value) == (
        f"cannot listen on port {port}: address already in use, held by {name} "
        f"(pid {holder.pid}): stop it, or choose another port"
    )


def test_a_port_that_our_host_holds_looks_like_the_wrong_role() -> None:
    """FE-06, ER-09: it serves there, so this is the server side."""
    code = """if True:
        import sys
        from pt_bridge.errors import ListenError
        from pt_bridge.listener import bind
        from pt_bridge.protocol.address import Address
        try:
            bind(Address("127.0.0.1", int(sys.argv[1])), patience=0)
        except ListenError as error:
            print(error)
    """
    with bind(LOOPBACK) as sock:
        text = run_python(code, port_of(sock))
    assert f"(pid {os.getpid()}), which started pt-bridge" in text
    assert "add 'server' to the plugin options" in text


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_a_holder_that_we_may_not_look_at_is_somebody_elses() -> None:
    """ER-09: the system does not tell its name."""
    code = f"""if True:
        import os, sys
        import errno, psutil
        from pt_bridge.listener import explain
        os.setgroups([])
        os.setgid({NOBODY})
        os.setuid({NOBODY})
        print(explain(errno.EADDRINUSE, int(sys.argv[1])))
    """
    with bind(LOOPBACK) as sock:
        text = run_python(code, port_of(sock))
    assert "held by a program of another user: stop it" in text


def test_an_address_of_another_machine_is_told_of() -> None:
    """ER-09: a client that was given the server's SS_REMOTE_HOST."""
    with pytest.raises(ListenError) as caught:
        bind(Address("192.0.2.1", 8388))
    assert "8388: cannot assign requested address" in str(caught.value)
    assert "not one of this machine's" in str(caught.value)


def test_a_privileged_port_comes_with_what_gives_the_right() -> None:
    """ER-09: what to do, whoever starts us."""
    text = str(explain(errno.EACCES, 443))
    assert text.startswith("cannot listen on port 443: permission denied")
    assert "AmbientCapabilities=CAP_NET_BIND_SERVICE" in text
    assert "net.ipv4.ip_unprivileged_port_start=443" in text


@pytest.mark.parametrize(
    ("number", "port"), [(errno.EACCES, 8388), (errno.ENOBUFS, 443)]
)
def test_other_trouble_is_told_in_the_systems_words(number: int, port: int) -> None:
    """ER-09."""
    why = os.strerror(number).lower()
    assert str(explain(number, port)) == f"cannot listen on port {port}: {why}"


@pytest.mark.parametrize("number", WORDS)
def test_the_words_of_go_are_understood(number: int) -> None:
    """SV-08: 'SMETHOD-ERROR obfs4 listen tcp 127.0.0.1:8388: bind: ...'."""
    found = explain_text(f"listen tcp 192.0.2.1:8388: {WORDS[number]}", 8388)
    assert found is not None
    assert os.strerror(number).lower() in str(found)


def test_other_words_are_left_as_they_are() -> None:
    """SV-08: a PT has many reasons."""
    assert explain_text("no such transport is supported", 8388) is None


# Listener


class Port:
    """A listener, the connections that it delivered, and what it said."""

    def __init__(self, budget: int, patience: float) -> None:
        sock = bind(LOOPBACK)
        self.address = sock.getsockname()
        self.delivered: list[socket.socket] = []
        self.complaints: list[str] = []
        self.loop = asyncio.get_running_loop()
        self.listener = Listener(
            self.loop,
            sock,
            self.delivered.append,
            self.complaints.append,
            budget=budget,
            first_byte_patience=patience,
        )
        self.hosts: list[socket.socket] = []

    async def connect(self, data: bytes = b"") -> socket.socket:
        """Be a host that connects, and perhaps says something."""
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
def port(*, budget: int = 1_000_000, patience: float = FOR_EVER) -> Iterator[Port]:
    """Listen, and close everything in the end."""
    built = Port(budget, patience)
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


async def test_a_silent_connection_is_delivered_after_a_while() -> None:
    """FE-09: in some protocols the server speaks first."""
    with port(patience=0.05) as p:
        p.listener.open()
        started = p.loop.time()
        host = await p.connect()
        await p.wait_for(1)
        assert p.loop.time() - started >= 0.05
        await write(p.delivered[0], b"220 ready")
        assert await read(host, 9) == b"220 ready"


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
    with port(patience=0.01) as p:
        talks = await p.connect(b"early")
        silent = await p.connect()
        with port(patience=0.01) as clock:
            clock.listener.open()
            await clock.connect()
            await clock.wait_for(1)
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
        p.listener.park()
        assert not p.listener.is_open
        await p.connect(b"x")
        await p.bystander()
        assert p.delivered == []
        p.listener.open()
        await p.wait_for(1)


async def test_a_connection_that_hangs_up_while_it_is_parked_is_dropped() -> None:
    """FE-08: nobody waits for it any more."""
    with port(patience=0.01) as p:
        gone = await p.connect()
        stays = await p.connect()
        with port(patience=0.01) as clock:
            clock.listener.open()
            await clock.connect()
            await clock.wait_for(1)
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
        for _ in range(MAX_PARKED):
            await p.connect(b"x")
        oldest, second, *_ = p.hosts
        assert is_silent(oldest)
        await p.connect(b"x")
        assert await is_reset(oldest)
        assert is_silent(second)
        p.listener.open()
        await p.wait_for(MAX_PARKED)


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
    import asyncio, resource, sys
    from pt_bridge.listener import Listener, bind
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

        sock = bind(Address("127.0.0.1", 0))
        with Listener(loop, sock, deliver, complain, budget=1000) as listener:
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
    built = Port(1000, FOR_EVER)
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
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[1] > 3 * MAX_PARKED
