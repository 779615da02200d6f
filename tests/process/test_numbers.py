"""The page of numbers of a process: from its start on, until it is told to end."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest

from pt_bridge.errors import ListenError
from pt_bridge.process.numbers import Numbers
from pt_bridge.protocol.address import Address
from tests.support.some_figures import some_figures

if TYPE_CHECKING:
    from tests.support.processes import Bench


def is_open(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


async def test_they_are_served_until_they_end(bench: Bench) -> None:
    async with asyncio.TaskGroup() as tasks:
        place = Address("127.0.0.1", bench.port)
        numbers = Numbers(place, lambda: [some_figures()], spawn=tasks.create_task)
        async with numbers:
            assert is_open(bench.port)
            await numbers.end()
            assert not is_open(bench.port)


async def test_nowhere_nothing_is_served() -> None:
    async with (
        asyncio.TaskGroup() as tasks,
        Numbers(None, list, spawn=tasks.create_task),
    ):
        pass


async def test_a_place_that_cannot_be_had_is_told_with_its_name(bench: Bench) -> None:
    taken = bench.listen().getsockname()[1]
    async with asyncio.TaskGroup() as tasks:
        numbers = Numbers(
            Address("127.0.0.1", taken), list, spawn=tasks.create_task, name="listen"
        )
        with pytest.raises(ListenError, match="listen: cannot listen on port"):
            async with numbers:
                pass
