"""Names into addresses, asked of the real system."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from pt_bridge.protocol.address import Address
from pt_bridge.resolver import resolve

if TYPE_CHECKING:
    from typing import Any


class Slow(Address):
    """A name that the system looks up only once it is let."""

    __slots__ = ("let",)

    def __init__(self) -> None:
        self.let = threading.Event()
        self.let.set()
        super().__init__("localhost", 443)
        assert self.ip is None  # found out once, and here
        self.let.clear()

    def __getattribute__(self, name: str) -> Any:
        if name == "host":
            self.let.wait()
        return super().__getattribute__(name)


def resolvers() -> list[threading.Thread]:
    """List the threads that ask the system at this moment."""
    return [each for each in threading.enumerate() if each.name == "resolver"]


@pytest.mark.parametrize("host", ["192.0.2.3", "2001:db8::3"])
async def test_an_ip_address_is_given_back_as_it_is(host: str) -> None:
    """SV-01, SK-08: nobody is asked."""
    address = Address(host, 443)
    assert await resolve(address) == [address]
    assert resolvers() == []


async def test_a_name_is_resolved_with_its_port_ipv4_first() -> None:
    """SV-01: each address once."""
    found = await resolve(Address("localhost", 443))
    assert Address("127.0.0.1", 443) in found
    assert all(each.ip is not None and each.port == 443 for each in found)
    versions = [each.ip.version for each in found if each.ip is not None]
    assert versions == sorted(versions)
    assert len(set(found)) == len(found)


async def test_a_name_that_means_nothing_is_an_error_of_the_system() -> None:
    """SV-01."""
    with pytest.raises(OSError, match=r"not known|failure"):
        await resolve(Address("pt-bridge.invalid", 443))


async def test_other_things_go_on_while_a_name_is_resolved() -> None:
    """RL-10: one slow name does not hold the others up."""
    slow = Slow()
    async with asyncio.TaskGroup() as tasks:
        found = tasks.create_task(resolve(slow))
        assert await resolve(Address("localhost", 80))
        assert not found.done()
        slow.let.set()
    assert Address("127.0.0.1", 443) in found.result()


async def test_an_answer_that_nobody_waits_for_any_more_is_dropped() -> None:
    """HQ-03: given up, and the loop goes on."""
    slow = Slow()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await resolve(slow)
    (thread,) = resolvers()
    slow.let.set()
    thread.join()
    await asyncio.sleep(0)  # a turn in which the answer comes, and is dropped


def test_the_program_can_end_while_a_name_is_resolved() -> None:
    """HQ-03: a resolver that hangs for ever keeps nothing from ending."""
    slow = Slow()

    async def give_up() -> None:
        async with asyncio.timeout(0):
            await resolve(slow)

    with pytest.raises(TimeoutError):
        asyncio.run(give_up())
    (thread,) = resolvers()
    assert thread.daemon
    slow.let.set()
    thread.join()  # the answer finds no loop, which is nothing to complain of
