"""Names into addresses: what is asked, how often, and what is remembered."""

from __future__ import annotations

import asyncio
import errno
import socket
import threading

import pytest

from pt_bridge.net.resolve import FRESH, MOST, STALE_AFTER, USABLE, Resolver, resolve
from pt_bridge.protocol.address import Address
from tests.support.clock import Clock
from tests.support.python import run_python

NAME = Address("server.example", 443)
LATE = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


class Dns:
    """A resolver of the system's that answers as a test says.

    Attributes:
        asked: the names that it was asked for.
        answer: the addresses that it gives, or why it gives none.
        let: whether it answers at all.
    """

    def __init__(self, *answer: str) -> None:
        self.asked: list[str] = []
        self.answer: list[str] | OSError = list(answer)
        self.failures: list[OSError] = []
        self.let = threading.Event()
        self.let.set()

    def look_up(self, name: str) -> list[str]:
        self.asked.append(name)
        self.let.wait()
        if self.failures:
            raise self.failures.pop()
        if isinstance(self.answer, OSError):
            raise self.answer
        return self.answer


def resolvers() -> list[threading.Thread]:
    """List the threads that ask the system at this moment."""
    return [each for each in threading.enumerate() if each.name == "resolver"]


@pytest.mark.parametrize("host", ["192.0.2.3", "2001:db8::3"])
async def test_an_ip_address_is_given_back_as_it_is(host: str) -> None:
    """SV-01, SK-08: nobody is asked."""
    address, before = Address(host, 443), resolvers()  # another test's may go on
    assert await resolve(address) == [address]
    assert set(resolvers()) <= set(before)


async def test_a_name_is_resolved_with_its_port_ipv4_first() -> None:
    """SV-01: each address once."""
    found = await resolve(Address("localhost", 443))
    assert Address("127.0.0.1", 443) in found
    assert all(each.ip is not None and each.port == 443 for each in found)
    dns = Dns("2001:db8::1", "192.0.2.1", "192.0.2.1", "192.0.2.2")
    found = await Resolver(dns.look_up).resolve(NAME)
    assert [each.host for each in found] == ["192.0.2.1", "192.0.2.2", "2001:db8::1"]
    assert {each.port for each in found} == {443}


async def test_a_name_that_means_nothing_is_an_error_of_the_system() -> None:
    """SV-01."""
    with pytest.raises(OSError, match=r"not known|failure"):
        await resolve(Address("pt-bridge.invalid", 443))


async def test_a_name_is_looked_up_once_whoever_waits_for_it() -> None:
    """SE-10: one thread for a DNS that hangs, not one for each connection."""
    dns = Dns("192.0.2.1")
    dns.let.clear()
    resolver = Resolver(dns.look_up)
    other = Address(NAME.host, 80)
    async with asyncio.TaskGroup() as tasks:
        many = [tasks.create_task(resolver.resolve(NAME)) for _ in range(100)]
        many.append(tasks.create_task(resolver.resolve(other)))
        await asyncio.sleep(0)  # all have begun
        assert len(resolvers()) == 1
        dns.let.set()
    assert dns.asked == [NAME.host]
    assert [task.result()[0].port for task in many] == [443] * 100 + [80]


async def test_who_gives_up_leaves_the_others_their_answer() -> None:
    """RL-10: a connection that ends takes nothing from the next one."""
    dns = Dns("192.0.2.1")
    dns.let.clear()
    resolver = Resolver(dns.look_up)
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(resolver.resolve(NAME))
        second = tasks.create_task(resolver.resolve(NAME))
        await asyncio.sleep(0)  # both have begun
        first.cancel()
        dns.let.set()
    assert first.cancelled()
    assert second.result() == [Address("192.0.2.1", 443)]


async def test_an_answer_is_good_for_a_minute_and_no_longer() -> None:
    """Demands 25: a dynamic name's change is followed."""
    clock, dns = Clock(), Dns("192.0.2.1")
    resolver = Resolver(dns.look_up, clock.time)
    for _ in range(3):
        assert await resolver.resolve(NAME) == [Address("192.0.2.1", 443)]
    assert len(dns.asked) == 1
    dns.answer = ["192.0.2.2"]
    clock.pass_by(FRESH)
    assert await resolver.resolve(NAME) == [Address("192.0.2.2", 443)]
    assert len(dns.asked) == 2


@pytest.mark.parametrize("error", [LATE, socket.gaierror(socket.EAI_NONAME, "unknown")])
async def test_the_last_good_answer_holds_while_the_dns_fails(error: OSError) -> None:
    """Demands 25: but not for ever."""
    clock, dns = Clock(), Dns("192.0.2.1")
    resolver = Resolver(dns.look_up, clock.time)
    await resolver.resolve(NAME)
    dns.answer = error
    clock.pass_by(USABLE - 1)
    assert await resolver.resolve(NAME) == [Address("192.0.2.1", 443)]
    assert len(dns.asked) == 2
    clock.pass_by(1)
    with pytest.raises(OSError, match=str(error.strerror)):
        await resolver.resolve(NAME)


async def test_the_last_good_answer_holds_while_the_dns_hangs() -> None:
    """SE-10: after a moment, and the answer that comes later counts."""
    clock, dns = Clock(), Dns("192.0.2.1")
    resolver = Resolver(dns.look_up, clock.time)
    await resolver.resolve(NAME)
    dns.let.clear()
    clock.pass_by(FRESH)
    async with asyncio.timeout(15 * STALE_AFTER):
        assert await resolver.resolve(NAME) == [Address("192.0.2.1", 443)]
    (thread,) = resolvers()
    dns.answer = ["192.0.2.2"]
    dns.let.set()
    thread.join()
    assert await resolver.resolve(NAME) == [Address("192.0.2.2", 443)]


async def test_a_dns_that_is_not_there_yet_is_asked_again() -> None:
    """Demands 25: at boot the network may be late."""
    dns = Dns("192.0.2.1")
    dns.failures = [LATE, LATE]
    resolver = Resolver(dns.look_up)
    assert await resolver.resolve(NAME, patience=60) == [Address("192.0.2.1", 443)]
    assert len(dns.asked) == 3


async def test_patience_has_an_end_and_is_not_for_names_that_do_not_exist() -> None:
    """Demands 25."""
    clock, dns = Clock(), Dns()
    resolver = Resolver(dns.look_up, clock.time)
    dns.answer = LATE
    with pytest.raises(socket.gaierror):
        await resolver.resolve(NAME, patience=0)
    dns.answer = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    with pytest.raises(socket.gaierror, match="not known"):
        await resolver.resolve(NAME, patience=60)
    assert len(dns.asked) == 2


async def test_the_oldest_answers_are_forgotten() -> None:
    """SE-10: memory is bounded."""
    dns = Dns("192.0.2.1")
    resolver = Resolver(dns.look_up)
    names = [Address(f"n{number}.example", 443) for number in range(MOST + 1)]
    for name in [*names, names[-1], names[0]]:
        await resolver.resolve(name)
    assert dns.asked == [name.host for name in [*names, names[0]]]


NO_THREADS = """
import asyncio, errno, resource
from pt_bridge.net.resolve import Resolver, is_temporary
from pt_bridge.protocol.address import Address

resource.setrlimit(resource.RLIMIT_AS, (MOST, MOST))
try:
    asyncio.run(Resolver(lambda _: []).resolve(Address("server.example", 1)))
except OSError as error:
    print(errno.errorcode[error.errno], is_temporary(error))
"""


def test_no_thread_to_be_had_is_a_shortage_and_no_bug() -> None:
    """SE-10: it passes, and ends one connection and no more."""
    # The threads' stacks are larger than what there is.
    program = NO_THREADS.replace("MOST", str(400 * 1024 * 1024))
    program = f"import threading; threading.stack_size({2**30})\n{program}"
    done = run_python(program)
    assert done.stdout.split() == [errno.errorcode[errno.EAGAIN], "True"], done.stderr


async def test_other_things_go_on_while_a_name_is_resolved() -> None:
    """RL-10: one slow name does not hold the others up."""
    dns = Dns("192.0.2.1")
    dns.let.clear()
    async with asyncio.TaskGroup() as tasks:
        found = tasks.create_task(Resolver(dns.look_up).resolve(NAME))
        assert await resolve(Address("localhost", 80))
        assert not found.done()
        dns.let.set()
    assert found.result() == [Address("192.0.2.1", 443)]


def test_the_program_can_end_while_a_name_is_resolved() -> None:
    """HQ-03: a resolver that hangs for ever keeps nothing from ending."""
    dns = Dns("192.0.2.1")
    dns.let.clear()

    async def give_up() -> None:
        async with asyncio.timeout(0):
            await Resolver(dns.look_up).resolve(NAME)

    with pytest.raises(TimeoutError):
        asyncio.run(give_up())
    (thread,) = resolvers()
    assert thread.daemon
    dns.let.set()
    thread.join()  # the answer finds no loop, which is nothing to complain of
