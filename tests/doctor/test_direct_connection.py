"""The doctor's own connections to a server, and what they tell."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

import pytest

from pt_bridge.doctor.direct_connection import (
    NOISE_SIZE,
    check_names,
    check_servers,
    reach_server,
    servers_of,
    why_not_let_in,
)
from pt_bridge.errors import HungUp, SpeaksOtherwise, Unanswered, Unreached
from pt_bridge.net.sockets import reset
from pt_bridge.options.config import Config
from pt_bridge.options.ss_variables import variables_from_flags
from pt_bridge.protocol.address import Address
from tests.support import proxies

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.processes import Bench

OPTIONS = f"transport=obfs4;cert={'A' * 70};iat-mode=0"
LIMIT = 20.0  # seconds; loopback takes none
SHORT = 0.1


def config(options: str = OPTIONS, remote: str = "127.0.0.1:2") -> Config:
    return Config(
        variables_from_flags(local="127.0.0.1:1", remote=remote, plugin_options=options)
    )


def place_of(listener: socket.socket) -> Address:
    return Address(*listener.getsockname())


async def test_the_server_is_reached_past_no_proxy(bench: Bench) -> None:
    """Never around it: its user may have nobody else to ask."""
    listener = bench.listen()
    given = config(f"{OPTIONS};upstream-proxy=socks5://{place_of(listener)}")
    asked: list[proxies.Asked] = []

    def be_proxy() -> None:
        asked.append(proxies.socks5(bench.accept(listener)))

    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.to_thread(be_proxy))
        sock = await reach_server(given, Address("server.example", 9))
    sock.close()
    assert (asked[0].host, asked[0].port) == ("server.example", 9)


async def test_without_a_proxy_the_server_is_reached_directly(bench: Bench) -> None:
    listener = bench.listen()
    with await reach_server(config(), place_of(listener)):
        bench.accept(listener)


@pytest.mark.parametrize(
    ("options", "servers"),
    [
        (OPTIONS, ["127.0.0.1:2"]),
        ("transport=webtunnel;url=https://tunnel.example/x", ["tunnel.example:443"]),
        ("transport=webtunnel;url=tunnel", []),
        ("transport=snowflake;url=https://broker.example/;front=a", []),
    ],
)
def test_what_a_pt_connects_to_is_known_or_for_the_pt_to_know(
    options: str, servers: list[str]
) -> None:
    assert [str(each) for each in servers_of(config(options))] == servers


async def test_an_address_has_no_name_to_look_up() -> None:
    assert await check_names(config(), limit=LIMIT) == []


async def test_a_name_is_for_the_proxy_to_look_up() -> None:
    options = "transport=webtunnel;url=https://tunnel.example/x"
    given = config(f"{options};upstream-proxy=socks5://127.0.0.1:9")
    (result,) = await check_names(given, limit=LIMIT)
    assert result.text == "the upstream proxy is asked for the server's name"


async def test_a_server_that_takes_connections_is_reached(bench: Bench) -> None:
    there = place_of(bench.listen())
    results, reached = await check_servers(config(remote=str(there)), limit=LIMIT)
    assert reached == [there]
    assert [each.has_failed for each in results] == [False]


async def test_a_server_that_does_not_listen_is_not_reached(bench: Bench) -> None:
    gone = f"127.0.0.1:{bench.free_port()}"
    results, reached = await check_servers(config(remote=gone), limit=LIMIT)
    assert reached == []
    assert [each.has_failed for each in results] == [True]


async def test_where_only_the_pt_knows_its_way_no_server_is_looked_for() -> None:
    given = config("transport=snowflake;url=https://broker.example/;front=a")
    (result,), reached = await check_servers(given, limit=LIMIT)
    assert reached == []
    assert result.text == "snowflake finds its way to the server by itself"


async def told(
    bench: Bench,
    play: Callable[[socket.socket], object],
    *,
    is_silent: bool = True,
    limit: float = LIMIT,
) -> Exception:
    """Return what a server's behaviour tells, once it has heard all that is said."""
    listener = bench.listen()

    def be_server() -> None:
        sock = bench.accept(listener)
        with contextlib.suppress(ConnectionResetError):
            play(sock)

    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.to_thread(be_server))
        return await why_not_let_in(
            config(), place_of(listener), is_silent=is_silent, limit=limit
        )


def hear(sock: socket.socket) -> None:
    """Read all of the noise, so that nothing but the test resets."""
    left = NOISE_SIZE + len(b"\r\n\r\n")
    while left:
        left -= len(sock.recv(left))


def answer(sock: socket.socket) -> None:
    hear(sock)
    sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    sock.close()


def close(sock: socket.socket) -> None:
    hear(sock)
    sock.close()


def cut(sock: socket.socket) -> None:
    hear(sock)
    reset(sock)


async def test_who_answers_to_noise_is_another_program(bench: Bench) -> None:
    """PT servers that know a secret say nothing to those who do not."""
    assert isinstance(await told(bench, answer), SpeaksOtherwise)


@pytest.mark.parametrize(("play", "was_reset"), [(close, False), (cut, True)])
async def test_who_hangs_up_has_hung_up(
    bench: Bench, play: Callable[[socket.socket], object], *, was_reset: bool
) -> None:
    found = await told(bench, play)
    assert isinstance(found, HungUp)
    assert found.was_reset is was_reset


async def test_who_says_nothing_may_be_the_right_one(bench: Bench) -> None:
    assert isinstance(await told(bench, hear, limit=SHORT), Unanswered)


async def test_where_servers_speak_first_nothing_is_said(bench: Bench) -> None:
    """obfs3's do, whoever it is that calls."""
    heard: list[bytes] = []

    def listen(sock: socket.socket) -> None:
        heard.append(sock.recv(1))

    assert isinstance(await told(bench, listen, is_silent=False), Unanswered)
    assert heard == [b""]


async def test_a_server_that_is_gone_by_now_is_told_of(bench: Bench) -> None:
    remote = Address("127.0.0.1", bench.free_port())
    found = await why_not_let_in(config(), remote, is_silent=True)
    assert isinstance(found, Unreached)
