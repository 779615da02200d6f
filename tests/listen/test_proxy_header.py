"""Reading a balancer's header: nothing behind it, and nothing kept that is none."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

import pytest

from pt_bridge.listen.proxy_header import LIMIT, HeaderReader
from pt_bridge.net.sockets import reset
from pt_bridge.protocol.address import Address
from pt_bridge.protocol.proxy_protocol import Header, serialize
from tests.support.clock import ClockedLoop
from tests.support.tcp import closing, pair, read, turn_until, write

if TYPE_CHECKING:
    from collections.abc import Iterator

CLIENT, SERVER = Address("192.0.2.1", 5000), Address("192.0.2.9", 443)
V2 = serialize(CLIENT, SERVER)
V1 = b"PROXY TCP4 192.0.2.1 192.0.2.9 5000 443\r\n"


class Rig:
    """A balancer, which a test plays, and what was read of it."""

    def __init__(self) -> None:
        self.balancer, self.sock = pair()
        self.found: list[tuple[Header | None, bytes]] = []
        loop = asyncio.get_running_loop()
        self.clock = ClockedLoop(loop)
        self.reader = HeaderReader(
            loop,
            self.sock,
            lambda *what: self.found.append(what),
            self.clock.call_later,
        )


@contextlib.contextmanager
def rig() -> Iterator[Rig]:
    r = Rig()
    with closing((r.balancer, r.sock)):
        yield r
        r.reader.stop()
        r.clock.pass_by(2 * LIMIT)
        assert len(r.found) <= 1  # nothing is left to happen


@pytest.mark.parametrize("header", [V2, V1])
@pytest.mark.parametrize("size", [1, 5, 1000])
async def test_a_header_is_read_and_nothing_behind_it(header: bytes, size: int) -> None:
    """Whole or in pieces; what follows is the PT's."""
    data = header + b"the PT's"
    with rig() as r:
        for start in range(0, len(data), size):
            await write(r.balancer, data[start : start + size])
        await turn_until(lambda: r.found)
        assert r.found == [(Header(CLIENT, SERVER), b"")]
        assert await read(r.sock, 8) == b"the PT's"


@pytest.mark.parametrize("data", [b"G", b"\0", b"PROXY HELLO\r\n1234"])
async def test_what_is_no_header_is_handed_on_at_once(data: bytes) -> None:
    """All that was read of it; the rest is still to be read."""
    with rig() as r:
        await write(r.balancer, data)
        await turn_until(lambda: r.found)
        ((header, first),) = r.found
        assert header is None
        rest = await read(r.sock, len(data) - len(first))
        assert first + rest == data


async def test_half_a_header_is_handed_on_at_its_end() -> None:
    """Somebody looks whether this is a port with a balancer before it."""
    with rig() as r:
        await write(r.balancer, V2[:20])
        r.balancer.shutdown(socket.SHUT_WR)
        await turn_until(lambda: r.found)
        assert r.found == [(None, V2[:20])]


async def test_who_is_silent_is_handed_on_after_a_while() -> None:
    """The PT decides how long it waits for him."""
    with rig() as r:
        await write(r.balancer, V2[:20])
        await turn_until(lambda: r.reader._data == V2[:20])
        r.clock.pass_by(LIMIT)
        assert r.found == [(None, V2[:20])]


async def test_a_reset_is_handed_on() -> None:
    with rig() as r:
        reset(r.balancer)
        await turn_until(lambda: r.found)
        assert r.found == [(None, b"")]


async def test_who_stops_is_told_nothing() -> None:
    with rig() as r:
        r.reader.stop()
        await write(r.balancer, V2)
        assert await read(r.sock, len(V2)) == V2
        assert r.found == []
