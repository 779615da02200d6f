"""A server with several addresses is reached by one that works."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest

from pt_bridge.errors import ArgumentsRejected, ConnectRefused
from pt_bridge.formats.way import Way
from pt_bridge.net.dialling import TaskDialling, connected
from pt_bridge.net.resolve import Resolver
from pt_bridge.protocol.address import Address
from pt_bridge.system.log import logger
from pt_bridge.ways.addresses import Place, ServerAddresses
from tests.support.tcp import pair

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from pt_bridge.net.dialling import Dialling, OnConnected

NAME = Address("server.example", 443)
FIRST, SECOND = Address("192.0.2.1", 443), Address("2001:db8::1", 443)
AT_ONCE = 0.001  # seconds


class Server:
    """A server, some of whose addresses answer."""

    def __init__(
        self,
        remotes: Sequence[Address],
        *,
        hosts: Sequence[str] | None = None,
        refused: Sequence[Address] = (),
        silent: Sequence[Address] = (),
        ways: Sequence[Way] = (),
        why_nots: dict[str, str] | None = None,
    ) -> None:
        self.refused, self.silent = refused, silent
        self.hosts = hosts
        self.why_nots = why_nots or {}
        self.error: Exception = ConnectRefused("no")
        self.dialled: list[Address] = []
        self.told: list[bytes] = []
        self.addresses = ServerAddresses(
            asyncio.get_running_loop(),
            ways or [Way("obfs4", [], remotes)],
            None if hosts is None else Resolver(self.look_up),
            self.explain,
            why_not=lambda transport: self.why_nots.get(transport, ""),
            patience=AT_ONCE,
        )

    def look_up(self, name: str) -> Sequence[str]:
        assert name == NAME.host
        if not self.hosts:
            raise OSError("no such name")
        return self.hosts

    @staticmethod
    def explain(place: Place, error: Exception | None) -> str | None:
        if isinstance(error, ArgumentsRejected):
            return None
        return "no answer" if error is None else "refused"

    async def dial(self, place: Place) -> socket.socket:
        address = place.address
        self.dialled.append(address)
        self.told.append(place.arguments)
        if address in self.refused:
            raise self.error
        if address in self.silent:
            await asyncio.Event().wait()
        first, second = pair()
        second.close()
        return first

    async def reach(self, avoid: object = None) -> Address:
        """Reach it once; return by which address."""
        self.dialled.clear()
        (await self.begin(avoid)).close()
        return self.place.address

    async def begin(
        self, avoid: object = None, only: Place | None = None
    ) -> socket.socket:
        """Dial it once."""

        def dial(place: Place, on_connected: OnConnected) -> Dialling:
            loop = asyncio.get_running_loop()
            return TaskDialling(loop, self.dial(place), on_connected)

        def begin(on_connected: OnConnected) -> Dialling:
            def on_reached(got: socket.socket | Exception, place: Place) -> None:
                self.place = place
                on_connected(got)

            return self.addresses.dial(dial, on_reached, avoid, only=only)

        return await connected(begin)


async def test_the_addresses_of_a_name_are_tried_in_turn() -> None:
    server = Server([NAME], hosts=[FIRST.host, SECOND.host], refused=[FIRST])
    assert await server.reach() == SECOND
    assert server.dialled == [FIRST, SECOND]
    assert await server.reach() == SECOND
    assert server.dialled == [SECOND]


async def test_a_silent_address_delays_one_connection_and_no_other() -> None:
    server = Server([FIRST, SECOND], silent=[FIRST])
    assert await server.reach() == SECOND
    assert await server.reach() == SECOND
    assert server.dialled == [SECOND]
    first, second = server.addresses.lines()
    assert first.startswith("address 1 of 2: failed (1 in a row), no answer; it rests")
    assert second == "address 2 of 2: worked last"


@pytest.mark.parametrize("hosts", [[], [FIRST.host]])
async def test_a_name_without_a_choice_is_left_to_the_pt(hosts: list[str]) -> None:
    """SK-08."""
    server = Server([NAME], hosts=hosts)
    assert await server.reach() == NAME
    assert server.addresses.lines() == []


async def test_where_a_proxy_looks_names_up_nobody_else_does() -> None:
    server = Server([NAME])
    assert await server.reach() == NAME


async def test_what_all_addresses_would_answer_ends_the_race() -> None:
    server = Server([FIRST, SECOND], refused=[FIRST])
    server.error = ArgumentsRejected("wrong cert")
    with pytest.raises(ArgumentsRejected):
        await server.reach()
    assert server.dialled == [FIRST]
    assert server.addresses.lines()[0] == "address 1 of 2: not needed yet"


async def test_one_that_accepts_nothing_is_avoided(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, logger=logger.name)
    server = Server([FIRST, SECOND])
    assert await server.reach() == FIRST
    server.addresses.on_late(server.place)
    server.addresses.on_late(None)
    assert await server.reach(avoid=server.place) == SECOND
    assert await server.reach() == SECOND
    assert "the server is reached by address 2 of 2" in caplog.text
    assert FIRST.host not in caplog.text
    assert SECOND.host not in caplog.text


async def test_a_name_that_moves_takes_no_old_record_with_it() -> None:
    server = Server([FIRST, SECOND], refused=[FIRST])
    assert await server.reach() == SECOND
    (second,) = (each for each in server.addresses._given if each.address == SECOND)
    other = Address("192.0.2.9", 443)
    server.addresses._given = [second, second._replace(address=other)]
    assert await server.reach() == SECOND
    assert len(server.addresses.lines()) == 2


async def test_each_way_has_its_own_arguments_and_a_number() -> None:
    ways = [
        Way("obfs4", [("cert", "one")], [FIRST]),
        Way("obfs4", [("cert", "two")], [NAME]),
    ]
    hosts = [FIRST.host, SECOND.host]
    server = Server([], ways=ways, hosts=hosts, refused=[FIRST])
    assert await server.reach() == SECOND
    assert server.told == [b"cert=one", b"cert=two", b"cert=two"]
    assert [line.partition(":")[0] for line in server.addresses.lines()] == [
        "way 1 of 2 (obfs4)",
        "way 2 of 2 (obfs4), address 1",
        "way 2 of 2 (obfs4), address 2",
    ]


async def test_what_has_no_pt_is_tried_last() -> None:
    """The state says so, and not that it had failed."""
    first, second = (
        Way("webtunnel", [], [NAME]),  # whose PT looks names up by itself
        Way("obfs4", [], [SECOND]),
    )
    server = Server([], hosts=[], ways=[first, second], why_nots={"webtunnel": "no PT"})
    assert await server.reach() == SECOND
    assert server.dialled == [SECOND]
    assert server.addresses.lines()[0] == "way 1 of 2 (webtunnel): no PT"
    server.why_nots.clear()
    server.refused = [SECOND]
    assert await server.reach() == NAME


async def test_a_way_may_be_the_only_one() -> None:
    """For a connection that must come to this server and no other."""
    ways = [Way("obfs4", [("k", "a")], [FIRST]), Way("obfs4", [("k", "b")], [SECOND])]
    server = Server([], hosts=[], ways=ways)
    await server.reach()
    place = server.place
    server.refused = [FIRST]
    with pytest.raises(ConnectRefused):
        await server.begin(only=place)
    assert await server.reach() == SECOND


async def test_one_that_is_given_up_while_its_name_is_looked_up_is_over() -> None:
    server = Server([NAME], hosts=[FIRST.host, SECOND.host])
    async with asyncio.TaskGroup() as tasks:
        dialling = tasks.create_task(server.begin())
        await asyncio.sleep(0)
        dialling.cancel()
    assert server.dialled == []


async def test_a_bug_in_a_look_up_is_told_of() -> None:
    server = Server([NAME], hosts=[FIRST.host])
    server.addresses._resolver = Resolver(clock=iter(()).__next__)
    with pytest.raises(RuntimeError, match="StopIteration"):
        await server.begin()


async def test_an_answer_that_is_known_is_used_at_once() -> None:
    server = Server([NAME], hosts=[FIRST.host, SECOND.host])
    assert await server.reach() == FIRST
    server.hosts = []
    assert await server.reach() == FIRST
