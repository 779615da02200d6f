"""What calls back when there is a connection: what tests of `connect` do not show."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest

from pt_bridge.net.dialling import HandshakeDialling, TaskDialling, connected
from pt_bridge.net.time_limit import TimeLimit
from pt_bridge.protocol import socks_client
from pt_bridge.protocol.address import Address
from tests.support.tcp import closing, pair, read_to_end, turn_until

if TYPE_CHECKING:
    from pt_bridge.net.dialling import Dialling, OnConnected

TARGET = Address("192.0.2.3", 443)
LIMIT = 1000.0  # seconds


class Dialled:
    """A dialling of a port, and what it told."""

    def __init__(self, address: Address) -> None:
        self.got: list[socket.socket | Exception] = []
        loop = asyncio.get_running_loop()
        self.limit = TimeLimit(loop, LIMIT)
        self.dialling = HandshakeDialling(
            loop,
            address,
            socks_client.greet(),
            self.got.append,
            limit=self.limit,
        )
        assert not self.got  # nobody is called back before it is returned


async def test_one_that_fails_at_once_calls_back_later() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        dialled = Dialled(Address("127.0.0.1", holder.getsockname()[1]))
        await turn_until(lambda: dialled.got)
    (error,) = dialled.got
    assert isinstance(error, ConnectionRefusedError)


async def test_one_that_is_given_up_calls_nobody_back() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        dialled = Dialled(Address(*server.getsockname()))
        peer, _ = server.accept()
        with peer:
            peer.setblocking(False)
            dialled.dialling.cancel()
            dialled.dialling.cancel()
            assert await read_to_end(peer) == bytes([5, 1, 0])
    assert dialled.got == []


async def test_one_that_failed_at_once_may_be_given_up_before_it_tells() -> None:
    dialled = Dialled(Address("not an address", 1))
    dialled.dialling.cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert dialled.got == []


async def test_what_a_task_that_is_given_up_has_made_is_closed() -> None:
    ours, theirs = pair()
    with closing((ours, theirs)):
        got: list[object] = []

        async def make() -> socket.socket:
            return ours

        dialling = TaskDialling(asyncio.get_running_loop(), make(), got.append)
        await asyncio.sleep(0)  # it has run, and has not told
        dialling.cancel()
        assert await read_to_end(theirs) == b""
        assert got == []


async def test_a_task_that_somebody_else_cancels_is_a_failure() -> None:
    got: list[object] = []
    loop = asyncio.get_running_loop()
    dialling = TaskDialling(loop, asyncio.Event().wait(), got.append)
    dialling._task.cancel()
    await turn_until(lambda: got)
    assert isinstance(got[0], TimeoutError)


class Cancelled:
    """A dialling that only knows that it was given up."""

    is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


@pytest.mark.parametrize("is_first", [True, False])
async def test_a_connection_that_comes_as_its_waiter_goes_is_closed(
    *, is_first: bool
) -> None:
    """Just before, and just after it was cancelled."""
    ours, theirs = pair()
    dialling = Cancelled()
    whom: list[OnConnected] = []

    def begin(on_connected: OnConnected) -> Dialling:
        whom.append(on_connected)
        return dialling

    with closing((ours, theirs)):
        async with asyncio.TaskGroup() as tasks:
            waiter = tasks.create_task(connected(begin))
            await turn_until(lambda: whom)
            if is_first:
                whom[0](ours)
                waiter.cancel()
            else:
                waiter.cancel()
                whom[0](ours)
        assert waiter.cancelled()
        assert dialling.is_cancelled
        assert await read_to_end(theirs) == b""


async def test_an_error_that_comes_as_its_waiter_goes_is_nothing() -> None:
    whom: list[OnConnected] = []

    def begin(on_connected: OnConnected) -> Dialling:
        whom.append(on_connected)
        return Cancelled()

    async with asyncio.TaskGroup() as tasks:
        waiter = tasks.create_task(connected(begin))
        await turn_until(lambda: whom)
        waiter.cancel()
        whom[0](TimeoutError())
    assert waiter.cancelled()
