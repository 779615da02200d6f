"""A PT client, started by `PtClient`, and the server behind it."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING

import pytest

from pt_bridge.errors import ConnectRefused, ProxyRefused, ResolverFailed
from pt_bridge.files.owner_config import ProgramChoice
from pt_bridge.net.resolve import Resolver
from pt_bridge.options.config import Config
from pt_bridge.options.ss_variables import variables_from_flags
from pt_bridge.options.upstream_proxy import Proxy
from pt_bridge.protocol.address import Address
from pt_bridge.pt import program
from pt_bridge.pt.client import ProxyUrl, PtClient
from pt_bridge.pt.running_pt import PtSetup
from tests.support.processes import DEADLINE, receive

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.processes import Bench

ARGUMENTS = f"cert={'A' * 70};iat-mode=0"


def config(options: str = f"transport=obfs4;{ARGUMENTS}") -> Config:
    return Config(
        variables_from_flags(
            local="127.0.0.1:1", remote="127.0.0.1:2", plugin_options=options
        )
    )


def place_of(listener: socket.socket) -> Address:
    return Address(*listener.getsockname())


def is_folder(path: str) -> bool:
    return os.path.isdir(path)


def client_of(
    bench: Bench,
    protocol: str = "socks5",
    *,
    options: str = "",
    whole: str = f"transport=obfs4;{ARGUMENTS}",
    proxy: Proxy | None = None,
    folder: str | None = None,
) -> PtClient:
    """Prepare to run the fake PT."""
    steps = ["say PROXY DONE"] if proxy is not None else []
    bench.pt.play("say VERSION 1", *steps, f"client {protocol}", "say CMETHODS DONE")
    setup = PtSetup(
        config(f"{whole}{options}"),
        {key.encode(): value.encode() for key, value in bench.variables.items()},
        lambda: program.find(ProgramChoice([str(bench.pt.path)]), {}),
        DEADLINE,
    )
    return PtClient(setup, ProxyUrl(proxy, Resolver()), folder=folder)


# -- what it is started with -----------------------------------------------------------


async def test_its_folder_is_there_for_as_long_as_it_runs(bench: Bench) -> None:
    """PE-04: a temporary one, where nobody asks for another."""
    async with client_of(bench):
        given = bench.pt.report()["environment"]
        folder = os.fsdecode(given[b"TOR_PT_STATE_LOCATION"])
        assert folder.startswith(bench.variables["TMPDIR"])
        assert is_folder(folder)
        assert given[b"TOR_PT_CLIENT_TRANSPORTS"] == b"obfs4"
        assert b"TOR_PT_PROXY" not in given
    assert not is_folder(folder)
    assert bench.pt.is_gone()


async def test_a_folder_that_is_asked_for_stays(bench: Bench) -> None:
    async with client_of(bench, options=";state=mine"):
        given = bench.pt.report()["environment"]
        folder = os.fsdecode(given[b"TOR_PT_STATE_LOCATION"])
    assert os.path.basename(folder) == "mine"
    assert is_folder(folder)


async def test_a_folder_that_is_given_comes_before_the_one_asked_for(
    bench: Bench,
) -> None:
    """Doctor changes nothing in the user's own."""
    async with client_of(bench, options=";state=mine", folder=str(bench.folder)):
        given = bench.pt.report()["environment"]
    assert given[b"TOR_PT_STATE_LOCATION"] == os.fsencode(bench.folder)
    assert not any((bench.folder / "state").iterdir())


async def test_the_upstream_proxy_is_given_by_its_ip_address(bench: Bench) -> None:
    """PE-08: PTs take no name there."""
    proxy = Proxy("socks5", Address("localhost", 9050), "")
    async with client_of(bench, proxy=proxy):
        given = bench.pt.report()["environment"]
    assert given[b"TOR_PT_PROXY"] == b"socks5://127.0.0.1:9050"


class Names:
    """A resolver's answers, which a test changes."""

    def __init__(self, answer: Sequence[str] | OSError) -> None:
        self.answer = answer
        self.now = 0.0
        self.resolver = Resolver(self._look_up, lambda: self.now)

    def _look_up(self, name: str) -> Sequence[str]:
        if isinstance(self.answer, OSError):
            raise self.answer
        return self.answer


PROXY = Proxy("http", Address("proxy.example", 8080), "u:p")


async def test_where_the_proxys_name_is_not_resolved_the_last_address_stands() -> None:
    """However long ago that was: PTs that die must be started again."""
    names = Names(["192.0.2.7"])
    url = ProxyUrl(PROXY, names.resolver)
    assert await url.look_up() == "http://u:p@192.0.2.7:8080"
    names.answer, names.now = OSError(socket.EAI_NONAME, "unknown"), 1e6
    assert await url.look_up() == "http://u:p@192.0.2.7:8080"
    names.answer = ["192.0.2.8"]
    assert await url.look_up() == "http://u:p@192.0.2.8:8080"


@pytest.mark.parametrize(
    ("number", "kind"),
    [(socket.EAI_NONAME, ProxyRefused), (socket.EAI_AGAIN, ResolverFailed)],
)
async def test_a_proxy_whose_name_was_never_resolved_is_an_error(
    number: int, kind: type[Exception]
) -> None:
    names = Names(OSError(number, "no such name"))
    with pytest.raises(kind) as caught:
        await ProxyUrl(PROXY, names.resolver).look_up()
    assert str(caught.value) == (
        "the name of the upstream proxy cannot be resolved: no such name"
    )
    assert caught.value.__cause__ is names.answer


# -- the server behind it --------------------------------------------------------------


async def carries(bench: Bench, listener: socket.socket, plain: socket.socket) -> bool:
    """See that a byte gets through; close the connection."""
    far = bench.accept(listener)
    with plain:
        await asyncio.get_running_loop().sock_sendall(plain, b"x")
        return await asyncio.to_thread(receive, far, 1) == b"x"


async def test_the_server_is_reached_through_the_pt(bench: Bench) -> None:
    """RL-08: by the name that it was given, with the transport's arguments."""
    listener = bench.listen()
    remote = place_of(listener)
    async with client_of(bench) as client:
        assert await carries(bench, listener, await client.dial(remote))
    asked = bench.pt.event("asked").split()
    assert asked == [remote.host, str(remote.port), repr(ARGUMENTS.encode())]


async def test_socks4_has_no_names(bench: Bench) -> None:
    """SK-15: they are resolved here."""
    listener = bench.listen()
    remote = Address("localhost", place_of(listener).port)
    async with client_of(bench, "socks4") as client:
        assert await carries(bench, listener, await client.dial(remote))
    assert bench.pt.event("asked").split()[0] == "127.0.0.1"


async def test_a_server_that_is_not_there_is_refused_by_the_pt(bench: Bench) -> None:
    remote = Address("127.0.0.1", bench.free_port())
    async with client_of(bench) as client:
        with pytest.raises(ConnectRefused) as caught:
            await client.dial(remote)
    assert caught.value.seconds is not None


async def test_how_long_a_refusal_takes_tells_nothing_where_another_dials(
    bench: Bench,
) -> None:
    """Of meek and the like a web server."""
    remote = Address("127.0.0.1", bench.free_port())
    meek = "transport=meek_lite;url=https://front.example/"
    async with client_of(bench, whole=meek) as client:
        with pytest.raises(ConnectRefused) as caught:
            await client.dial(remote)
    assert caught.value.seconds is None


async def test_the_limit_is_for_all_of_it(bench: Bench) -> None:
    """SK-11: a PT would wait for a minute."""
    listener = bench.listen()
    async with client_of(bench, "socks5 shake") as client:
        with pytest.raises(TimeoutError):
            await client.dial(place_of(listener), limit=0.2)


async def test_a_pt_that_has_died_is_told_nothing(bench: Bench) -> None:
    """Its port may be another user's by now."""
    async with client_of(bench) as client:
        client.process.kill()
        await client.wait()
        bench.listen(port=client.launch.methods["obfs4"].address.port)
        with pytest.raises(ConnectionRefusedError, match="the PT has died"):
            await client.dial(Address("server.example", 9))
    assert not bench.pt.named("asked")
