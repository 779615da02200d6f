"""The shadowsocks server behind a server: found, connected to, and complained of."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
from typing import TYPE_CHECKING

import pytest

from pt_bridge.bridge.shadowsocks_behind import ShadowsocksBehind
from pt_bridge.errors import UsageError
from pt_bridge.net.resolve import Resolver
from pt_bridge.options.config import Config
from pt_bridge.options.ss_variables import variables_from_flags
from pt_bridge.protocol.address import Address
from pt_bridge.protocol.frames import Cause
from tests.support.tcp import not_listening, read

if TYPE_CHECKING:
    from collections.abc import Iterator

CLIENT = Address("203.0.113.5", 4321)
HEADER = 28  # bytes of a PROXY header, version 2, for TCP over IPv4


class Behind(ShadowsocksBehind):
    """One that notes what it complains of, and whether it asked for room."""

    def __init__(self, local: str, **flags: str | None) -> None:
        variables = variables_from_flags(
            local=local, remote="192.0.2.1:443", plugin_options="server;transport=obfs3"
        )
        self.complaints: list[str] = []
        self.descriptors: list[int] = []
        config = Config(variables, flags={"server": None, **flags})
        super().__init__(
            config,
            Resolver(),
            complain=self.complaints.append,
            make_room=self.close_one,
        )

    def close_one(self) -> bool:
        if not self.descriptors:
            return False
        os.close(self.descriptors.pop())
        return True


@pytest.fixture
def service() -> Iterator[socket.socket]:
    """Listen in shadowsocks's place."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


def place(service: socket.socket) -> str:
    return f"127.0.0.1:{service.getsockname()[1]}"


async def test_it_is_connected_to_and_told_nothing(service: socket.socket) -> None:
    behind = Behind(place(service))
    await behind.find()
    got = await behind.connect(CLIENT)
    assert isinstance(got, socket.socket)
    with got:
        assert got.getpeername() == service.getsockname()
    sock, _ = service.accept()
    with sock:
        assert sock.recv(1) == b""
    assert behind.complaints == []


async def test_where_it_is_wanted_a_header_names_the_client(
    service: socket.socket,
) -> None:
    behind = Behind(place(service), **{"send-proxy-v2": None})
    await behind.find()
    got = await behind.connect(CLIENT)
    assert isinstance(got, socket.socket)
    sock, _ = service.accept()
    with got, sock:
        sock.setblocking(False)
        header = await read(sock, HEADER)
    assert socket.inet_aton(CLIENT.host) in header


async def test_one_that_does_not_listen_is_complained_of(
    service: socket.socket,
) -> None:
    behind = Behind(place(service))
    with not_listening(service):
        await behind.find()
        assert await behind.connect(CLIENT) is Cause.REFUSED
    (text,) = behind.complaints
    assert "did not take it (connection refused)" in text


async def test_where_descriptors_are_short_room_is_made_first(
    service: socket.socket,
) -> None:
    """And where none can be made, the server is busy."""
    behind = Behind(place(service))
    await behind.find()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    left: list[int] = []
    try:
        # None is free from here on.
        left.append(os.dup(service.fileno()))
        resource.setrlimit(resource.RLIMIT_NOFILE, (left[0] + 1, hard))
        with contextlib.suppress(OSError):
            while True:
                left.append(os.dup(service.fileno()))
        behind.descriptors.append(left.pop())
        got = await behind.connect(CLIENT)
        assert isinstance(got, socket.socket)
        assert await behind.connect(CLIENT) is Cause.BUSY
        got.close()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in left:
            os.close(descriptor)
        service.close()
    assert len(behind.complaints) == 1


async def test_a_name_without_an_address_is_said_to_have_none() -> None:
    behind = Behind("nobody.invalid:1")
    with pytest.raises(UsageError, match=r"cannot be resolved: .*; give an IP"):
        await behind.find()
