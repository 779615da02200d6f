"""The loopback SOCKS5 proxy of one PT client: whom it serves, and what."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import socks  # type: ignore[import-untyped] # it has no types

from pt_bridge.config import HELD_NAME_LENGTH
from pt_bridge.protocol.socks5_server import (
    REPLY_FAILED,
    REPLY_NOT_ALLOWED,
    REPLY_SUCCEEDED,
)
from pt_bridge.socks_proxy import SocksProxy
from tests.tcp import closing, is_silent, read, read_to_end, turn_until, write

if TYPE_CHECKING:
    from collections.abc import Iterator

PORT = 443
METHODS, LOGIN_ASKED = b"\5\1\2", b"\5\2"
LET_IN, WRONG = b"\1\0", b"\1\1"


class Rig:
    """A proxy, and who calls it."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self.loop = asyncio.get_running_loop()
        self.proxy = stack.enter_context(SocksProxy(self.loop))
        self.url = urlsplit(self.proxy.url)
        self.called: list[socket.socket] = []
        self._stack = stack

    def take(self, sock: socket.socket) -> None:
        """Be what is called back."""
        self.called.append(self._stack.enter_context(sock))

    async def call(self, *, user: str = "", password: str = "") -> socket.socket:
        """Connect, and give a user name and a password, the right ones by default."""
        assert self.url.hostname is not None
        assert self.url.username is not None
        assert self.url.password is not None
        sock = self._stack.enter_context(socket.socket())
        sock.setblocking(False)
        await self.loop.sock_connect(sock, (self.url.hostname, self.url.port))
        await write(sock, METHODS)
        assert await read(sock, 2) == LOGIN_ASKED
        words = [
            (given or right).encode()
            for given, right in (
                (user, self.url.username),
                (password, self.url.password),
            )
        ]
        fields = b"".join(bytes([len(word)]) + word for word in words)
        await write(sock, b"\1" + fields)
        return sock

    async def ask(self, name: str) -> socket.socket:
        """Call, and ask for a name."""
        sock = await self.call()
        assert await read(sock, 2) == LET_IN
        host = name.encode()
        request = b"\5\1\0\3" + bytes([len(host)]) + host + PORT.to_bytes(2, "big")
        await write(sock, request)
        return sock


@contextlib.contextmanager
def rig() -> Iterator[Rig]:
    """Build a proxy, and take it down with all that called."""
    with contextlib.ExitStack() as stack:
        yield Rig(stack)


async def test_a_name_that_is_expected_is_served() -> None:
    """The caller waits for a reply, and nothing is read behind it."""
    with rig() as r, r.proxy.expect(r.take) as name:
        caller = await r.ask(name)
        await turn_until(lambda: r.called)
        assert is_silent(caller)
        (sock,) = r.called
        await write(sock, REPLY_SUCCEEDED)
        assert await read(caller, len(REPLY_SUCCEEDED)) == REPLY_SUCCEEDED
        await write(caller, b"hello")
        assert await read(sock, 5) == b"hello"


async def test_an_independent_client_gets_through() -> None:
    """RFC 1928, RFC 1929: PySocks."""
    with rig() as r, r.proxy.expect(r.take) as name:

        def connect() -> socket.socket:
            client = socks.socksocket()
            client.set_proxy(
                socks.SOCKS5,
                r.url.hostname,
                r.url.port,
                rdns=True,
                username=r.url.username,
                password=r.url.password,
            )
            client.connect((name, PORT))
            done: socket.socket = client
            return done

        async with asyncio.TaskGroup() as tasks:
            connected = tasks.create_task(asyncio.to_thread(connect))
            await turn_until(lambda: r.called)
            await write(r.called[0], REPLY_SUCCEEDED)
        with connected.result() as client:
            client.setblocking(False)
            await write(client, b"hello")
            assert await read(r.called[0], 5) == b"hello"


async def test_each_tunnel_has_a_name_of_its_own() -> None:
    """Nobody can guess one, none is on the Internet, and all are equally long."""
    with rig() as r, contextlib.ExitStack() as stack:
        names = [stack.enter_context(r.proxy.expect(r.take)) for _ in range(100)]
        assert len(set(names)) == 100
        for name in names:
            assert len(name) == HELD_NAME_LENGTH
            assert re.fullmatch(r"[0-9a-f]{32,}\.invalid", name)


async def test_callers_are_told_apart_by_their_names() -> None:
    """In whatever order they come."""
    with rig() as r:
        one: list[socket.socket] = []
        two: list[socket.socket] = []
        with (
            r.proxy.expect(one.append) as first,
            r.proxy.expect(two.append) as second,
        ):
            callers = [await r.ask(second), await r.ask(first)]
            await turn_until(lambda: one and two)
        with closing((one[0], two[0])):
            await write(one[0], b"1")
            await write(two[0], b"2")
            assert await read(callers[1], 1) == b"1"
            assert await read(callers[0], 1) == b"2"


@pytest.mark.parametrize("name", ["0" * 40 + ".invalid", "example.com", "127.0.0.1"])
async def test_a_name_that_nobody_expects_is_refused(name: str) -> None:
    """The PT has one of its own mind, or somebody knows its password."""
    with rig() as r, r.proxy.expect(r.take):
        assert await read_to_end(await r.ask(name)) == REPLY_NOT_ALLOWED
        assert not r.called


async def test_a_name_is_served_once() -> None:
    """One tunnel has one connection."""
    with rig() as r, r.proxy.expect(r.take) as name:
        await r.ask(name)
        await turn_until(lambda: r.called)
        assert await read_to_end(await r.ask(name)) == REPLY_NOT_ALLOWED
        assert len(r.called) == 1


async def test_a_name_is_not_served_any_more_when_its_block_is_left() -> None:
    """Whoever waited for it does not, and a call may come late."""
    with rig() as r:
        with r.proxy.expect(r.take) as name:
            early = await r.call()
            assert await read(early, 2) == LET_IN
        host = name.encode()
        request = b"\5\1\0\3" + bytes([len(host)]) + host + PORT.to_bytes(2, "big")
        await write(early, request)
        assert await read_to_end(early) == REPLY_NOT_ALLOWED
        assert await read_to_end(await r.ask(name)) == REPLY_NOT_ALLOWED
        assert not r.called


async def test_a_block_may_be_left_behind_its_call() -> None:
    """The connection is the other's then."""
    with rig() as r:
        with r.proxy.expect(r.take) as name:
            caller = await r.ask(name)
            await turn_until(lambda: r.called)
        await write(r.called[0], REPLY_FAILED)
        assert await read(caller, len(REPLY_FAILED)) == REPLY_FAILED


@pytest.mark.parametrize("wrong", ["user", "password"])
async def test_who_does_not_know_the_login_is_not_served(wrong: str) -> None:
    """SE-10: other users of the machine can connect, and a name may have been seen."""
    with rig() as r, r.proxy.expect(r.take) as name:
        sock = await r.call(**{wrong: "0" * 32})
        assert await read_to_end(sock) == WRONG
        assert not r.called
        await r.ask(name)
        await turn_until(lambda: r.called)


async def test_who_gives_no_login_is_not_served() -> None:
    """SE-10: no other method is accepted."""
    with rig() as r, socket.socket() as sock:
        sock.setblocking(False)
        await r.loop.sock_connect(sock, (r.url.hostname, r.url.port))
        await write(sock, b"\5\1\0")
        assert await read_to_end(sock) == b"\5\xff"


async def test_every_pt_has_a_login_of_its_own() -> None:
    """Design 3: made for this child; what the log must not show can be asked."""
    with rig() as r, rig() as other:
        assert r.url.scheme == "socks5"
        assert r.url.hostname == "127.0.0.1"
        assert r.proxy.credentials == (r.url.username, r.url.password)
        words = {*r.proxy.credentials, *other.proxy.credentials}
        assert len(words) == 4
        assert all(re.fullmatch("[0-9a-f]{32}", word) for word in words)


async def test_its_port_is_closed_when_its_block_is_left() -> None:
    """Design 2: nothing outlives its block."""
    with rig() as r:
        address = r.url.hostname, r.url.port
    with socket.socket() as sock:
        sock.setblocking(False)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.get_running_loop().sock_connect(sock, address)
