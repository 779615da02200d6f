"""The Extended ORPort of one PT: its cookie, and who gets through."""

from __future__ import annotations

import asyncio
import hmac
import os
import socket
from typing import TYPE_CHECKING

import pytest

from pt_bridge.protocol.address import Address
from pt_bridge.protocol.ext_orport import Request
from pt_bridge.pt.ext_orport import OrPort
from tests.support import restricted
from tests.support.processes import SERVER, SERVER_OPTIONS
from tests.support.session_end import SessionEnd
from tests.support.tcp import read, read_to_end, turn_until, write

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.processes import Bench

Called = list[tuple[socket.socket, Request]]


def read_cookie(orport: OrPort) -> bytes:
    """Read the cookie as a PT does, by a path."""
    with open(orport.cookie_path, "rb") as file:
        content = file.read()
    assert len(content) == 64
    return content[32:]


async def call(orport: OrPort, cookie: bytes) -> socket.socket:
    """Act as a PT; go as far as authentication."""
    sock = socket.socket()
    sock.setblocking(False)
    address = (orport.address.host, orport.address.port)
    await asyncio.get_running_loop().sock_connect(sock, address)
    assert await read(sock, 2) == b"\1\0"
    nonce = bytes(32)
    await write(sock, b"\1" + nonce)
    nonces = nonce + (await read(sock, 64))[32:]
    words = b"ExtORPort authentication client-to-server hash"
    await write(sock, hmac.digest(cookie, words + nonces, "sha256"))
    return sock


def gather(called: Called) -> Callable[[socket.socket, Request], None]:
    return lambda sock, request: called.append((sock, request))


def no_folder() -> str:
    raise AssertionError("this system needs no folder")


def listening(called: Called) -> OrPort:
    loop = asyncio.get_running_loop()
    return OrPort(loop, gather(called), make_folder=no_folder)


async def test_a_pt_that_knows_the_cookie_is_heard() -> None:
    """EO-01, EO-02: it is read again for every connection."""
    called: Called = []
    with OrPort(
        asyncio.get_running_loop(), gather(called), make_folder=no_folder
    ) as orport:
        for number in (1, 2):
            with await call(orport, read_cookie(orport)) as sock:
                assert await read(sock, 1) == b"\1"
                await write(sock, b"\0\1\0\x0f192.0.2.7:40000" + bytes(4))
                await turn_until(lambda n=number: len(called) == n)  # type: ignore[misc]
        for sock, request in called:
            assert request == Request(Address("192.0.2.7", 40_000), "")
            sock.close()


async def test_who_does_not_know_the_cookie_is_refused() -> None:
    """EO-04."""
    called: Called = []
    with OrPort(
        asyncio.get_running_loop(), gather(called), make_folder=no_folder
    ) as orport:
        with await call(orport, bytes(32)) as sock:
            assert await read_to_end(sock) == b"\0"
        assert called == []


async def test_every_orport_has_a_cookie_of_its_own_and_leaves_none() -> None:
    """EO-02: made anew at each start, in a file without a name."""
    cookies = set()
    for _ in range(3):
        with OrPort(
            asyncio.get_running_loop(), gather([]), make_folder=no_folder
        ) as orport:
            cookies.add(read_cookie(orport))
            assert not os.get_inheritable(orport.cookie_file)
            with pytest.raises(FileNotFoundError):
                os.stat(os.readlink(orport.cookie_path))
        with pytest.raises(FileNotFoundError):
            os.stat(orport.cookie_path)
    assert len(cookies) == 3


@pytest.mark.parametrize("lacking", ["memfd_create", "flock", "/proc"])
def test_a_server_works_where_the_system_lacks_something(
    bench: Bench, lacking: str
) -> None:
    """EO-02, SE-02: a sandbox, a file system without locks, a chroot."""
    before = restricted.without(lacking)
    bench.pt.play(*SERVER)
    listener = bench.listen()
    program = bench.server(
        target=listener.getsockname(), options=SERVER_OPTIONS, before=before
    )
    program.said("ready:")
    cookie = bench.pt.environment["TOR_PT_AUTH_COOKIE_FILE"]
    assert cookie.startswith("/proc/") == (lacking == "flock")
    near = SessionEnd.as_client(bench.connect(bench.port))
    bench.carried(near, listener)
    bench.stop(program)
    assert not os.path.exists(os.path.dirname(cookie)) or lacking == "flock"
