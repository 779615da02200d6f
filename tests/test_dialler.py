"""Dialling the server through a PT, in the way that a configuration asks for."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from pt_bridge import pt
from pt_bridge.config import Config, variables_from_flags
from pt_bridge.dialler import Dialler, reach_server
from pt_bridge.errors import ConnectRefused, Unanswered, Unreached
from pt_bridge.owner import Wanted
from pt_bridge.protocol import environment
from pt_bridge.protocol.address import Address
from pt_bridge.socks_proxy import SocksProxy
from pt_bridge.wire import Wire
from tests import proxies
from tests.processes import receive

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator

    from pt_bridge.held_dial import Ends
    from tests.processes import Bench

ARGUMENTS = "cert=AAAA;iat-mode=0"


def config(options: str = f"transport=obfs4;{ARGUMENTS}") -> Config:
    return Config(
        variables_from_flags(
            local="127.0.0.1:1", remote="127.0.0.1:2", plugin_options=options
        )
    )


def place_of(listener: socket.socket) -> Address:
    return Address(*listener.getsockname())


@contextlib.asynccontextmanager
async def dialling(
    bench: Bench, given: Config, *, held: bool = False, protocol: str = "socks5"
) -> AsyncIterator[Dialler]:
    """Run the fake PT."""
    loop = asyncio.get_running_loop()
    bench.pt.play("say VERSION 1", f"client {protocol}", "say CMETHODS DONE")
    async with contextlib.AsyncExitStack() as stack:
        proxy = stack.enter_context(SocksProxy(loop)) if held else None
        variables = environment.client(
            given.transport, state=b"/", proxy=proxy.url if proxy else None
        )
        found = pt.find(Wanted([str(bench.pt.path)]), {})
        child = await stack.enter_async_context(found.child(given, variables))
        await child.ready(20)
        yield Dialler(
            given,
            child.launch,
            proxy,
            lambda leg, net, ended: Wire(
                loop, leg, net, ended, pt_is_ending=child.is_ending
            ),
        )


async def carries(bench: Bench, listener: socket.socket, ends: Ends) -> bool:
    """See that a byte gets through; drop everything."""
    far = bench.accept(listener)
    await asyncio.get_running_loop().sock_sendall(ends.plain, b"x")
    found = await asyncio.to_thread(receive, far, 1)
    ends.drop()
    return found == b"x"


@pytest.mark.parametrize("held", [False, True])
async def test_the_server_is_reached_through_the_pt(
    bench: Bench, *, held: bool
) -> None:
    """RL-08: held, the PT hears a name that is ours, and never the server's."""
    listener = bench.listen()
    remote = place_of(listener)
    async with dialling(bench, config(), held=held) as dialler:
        ends = await dialler.dial(remote)
        assert (ends.wire is not None) == held
        assert await carries(bench, listener, ends)
    asked = bench.pt.event("asked").split()
    assert asked[1:] == [str(remote.port), repr(ARGUMENTS.encode())]
    assert asked[0].endswith(".invalid") if held else asked[0] == remote.host


async def test_socks4_has_no_names(bench: Bench) -> None:
    """SK-15: they are resolved here."""
    listener = bench.listen()
    remote = Address("localhost", place_of(listener).port)
    async with dialling(bench, config(), protocol="socks4") as dialler:
        assert await carries(bench, listener, await dialler.dial(remote))
    assert bench.pt.event("asked").split()[0] == "127.0.0.1"


async def test_where_the_pt_is_told_the_server_by_an_argument_the_name_goes_there(
    bench: Bench,
) -> None:
    """RL-08: lyrebird's webtunnel."""
    given = config("transport=webtunnel;url=https://e.example/x")
    listener = bench.listen()
    async with dialling(bench, given, held=True) as dialler:
        ends = await dialler.dial(place_of(listener))
        ends.drop()
    host, port, arguments = bench.pt.event("asked").split(maxsplit=2)
    assert f"addr={host}:{port}" in arguments


async def test_a_server_that_is_not_there_is_told_of_as_the_wire_saw_it(
    bench: Bench,
) -> None:
    remote = Address("127.0.0.1", bench.free_port())
    async with dialling(bench, config(), held=True) as dialler:
        with pytest.raises(Unreached):
            await dialler.dial(remote)
    async with dialling(bench, config()) as dialler:
        with pytest.raises(ConnectRefused):
            await dialler.dial(remote)


async def test_the_limit_is_for_all_of_it(bench: Bench) -> None:
    """SK-11: and what the wire saw is told then, too."""
    listener = bench.listen()
    async with dialling(bench, config(), held=True, protocol="socks5 shake") as dialler:
        with pytest.raises(Unanswered):
            await dialler.dial(place_of(listener), limit=0.2)


async def test_the_server_is_reached_past_no_proxy(bench: Bench) -> None:
    """Design 3: never around it."""
    listener = bench.listen()
    options = f"transport=obfs4;{ARGUMENTS};upstream-proxy=socks5://"
    given = config(f"{options}{place_of(listener)}")
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
