"""Where a PT calls back: who gets in, and who keeps nobody out."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from typing import TYPE_CHECKING

import pytest

from pt_bridge.errors import ProtocolError
from pt_bridge.listen.loopback_server import MAX_CALLERS, LoopbackServer
from pt_bridge.protocol.handshake import Ask
from tests.support.tcp import is_reset, is_silent, read, read_to_end, turn_until, write

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

FOR_EVER = 3600.0
SOMEBODY_ELSE = 65534


def password() -> Generator[Ask, bytes, str]:
    """A handshake: greet, hear four letters, and take one word only."""
    answer = yield Ask(b"who?", 4)
    if answer != b"me!!":
        yield Ask(b"no", 0)
        raise ProtocolError("it is somebody else")
    name = yield Ask(b"", 2)
    return name.decode()


class Port:
    """A port, who got in, and who tried."""

    def __init__(self, limit: float, most: int, patience: float = FOR_EVER) -> None:
        self.loop = asyncio.get_running_loop()
        self.inside: list[tuple[socket.socket, str]] = []
        self.callers: list[socket.socket] = []
        self.callback = LoopbackServer(
            self.loop,
            password,
            lambda sock, name: self.inside.append((sock, name)),
            limit=limit,
            most=most,
            patience=patience,
        )

    async def connect(self) -> socket.socket:
        """Connect, and wait to be greeted."""
        sock = socket.socket()
        self.callers.append(sock)
        sock.setblocking(False)
        address = (self.callback.address.host, self.callback.address.port)
        await self.loop.sock_connect(sock, address)
        return sock

    async def call(self) -> socket.socket:
        """Connect, and be greeted."""
        sock = await self.connect()
        assert await read(sock, 4) == b"who?"
        return sock

    async def get_in(self) -> socket.socket:
        """Call, and pass."""
        before = len(self.inside)
        sock = await self.call()
        await write(sock, b"me!!PT")
        await turn_until(lambda: len(self.inside) > before)
        return sock


@contextlib.contextmanager
def port(
    *, limit: float = FOR_EVER, most: int = MAX_CALLERS, patience: float = FOR_EVER
) -> Iterator[Port]:
    """Listen, and close everything in the end."""
    built = Port(limit, most, patience)
    try:
        with built.callback:
            yield built
    finally:
        for sock in (*built.callers, *(sock for sock, _ in built.inside)):
            sock.close()


async def test_who_passes_is_handed_over_with_nothing_read_behind() -> None:
    """EO-11: the next bytes are the tunnel's."""
    with port() as p:
        caller = await p.call()
        await write(caller, b"me!!PTpayload")
        await turn_until(lambda: p.inside)
        ((sock, name),) = p.inside
        assert name == "PT"
        assert await read(sock, 7) == b"payload"
        await write(sock, b"answer")
        assert await read(caller, 6) == b"answer"


async def test_it_listens_on_loopback_and_nowhere_else() -> None:
    """EO-03, SE-07."""
    with port() as p:
        assert p.callback.address.host == "127.0.0.1"


async def test_who_does_not_pass_is_told_and_let_go() -> None:
    """EO-04."""
    with port() as p:
        caller = await p.call()
        await write(caller, b"you?")
        assert await read_to_end(caller) == b"no"
        assert p.inside == []
        await p.get_in()


@pytest.mark.parametrize("said", [b"", b"me", b"me!!P"])
async def test_who_hangs_up_is_let_go(said: bytes) -> None:
    """EO-04: a short read."""
    with port() as p:
        caller = await p.call()
        await write(caller, said)
        caller.shutdown(socket.SHUT_WR)
        assert await read_to_end(caller) == b""
        await p.get_in()


async def test_who_says_nothing_is_dropped_after_a_while() -> None:
    """SE-10, EO-09."""
    with port(limit=0.01) as p:
        caller = await p.call()
        assert await is_reset(caller)


async def test_a_crowd_of_idlers_keeps_nobody_out() -> None:
    """SE-10: the oldest goes; other users of the machine can connect."""
    with port(most=3, patience=0.01) as p:
        idlers = [await p.call() for _ in range(3)]
        await p.get_in()
        assert await is_reset(idlers[0])
        for _ in range(5):
            await p.get_in()
        await write(idlers[1], b"me!!ID")
        await turn_until(lambda: len(p.inside) == 7)


async def test_idlers_may_stay_while_nobody_waits() -> None:
    """Or a PT that is slow for once would be taken for one."""
    with port(most=3, patience=0) as p:
        idlers = [await p.call() for _ in range(3)]
        for _ in range(5):
            await asyncio.sleep(0)
        assert all(map(is_silent, idlers))


async def test_a_pt_that_calls_more_often_than_there_is_room_waits_for_its_turn() -> (
    None
):
    """Many tunnels that are opened at once all reach their server."""
    with port(most=3) as p:
        callers = [await p.connect() for _ in range(20)]
        for number, caller in enumerate(callers):
            assert await read(caller, 4) == b"who?"
            await write(caller, b"me!!PT")
            await turn_until(lambda n=number: len(p.inside) > n)  # type: ignore[misc]


async def test_who_passes_as_the_next_one_calls_is_not_taken_for_an_idler() -> None:
    """It is through, though it was not handed over yet."""
    with port(most=1, patience=0) as p:
        first = await p.call()
        await write(first, b"me!!")
        for _ in range(5):  # it is read
            await asyncio.sleep(0)
        first.send(b"PT")
        second = await p.connect()
        assert await read(second, 4) == b"who?"
        assert [name for _, name in p.inside] == ["PT"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can play somebody else")
async def test_another_user_of_the_machine_is_shown_out_at_once() -> None:
    """SE-12: before a word is said; where the kernel tells who it is."""
    with port() as p, socket.socket() as stranger:
        os.fchown(stranger.fileno(), SOMEBODY_ELSE, -1)
        stranger.connect((p.callback.address.host, p.callback.address.port))
        stranger.setblocking(False)
        assert await is_reset(stranger)
        await p.get_in()


async def test_the_end_closes_the_port_and_who_is_in_a_handshake() -> None:
    """Nothing outlives its block."""
    with contextlib.ExitStack() as stack:
        built = Port(FOR_EVER, MAX_CALLERS)
        with built.callback:
            caller = stack.enter_context(await built.call())
            passed = stack.enter_context(await built.get_in())
        assert await is_reset(caller)
        with pytest.raises(ConnectionRefusedError):
            await built.call()
        for sock, _ in built.inside:  # it is not the port's any more
            await write(sock, b"x")
            assert await read(passed, 1) == b"x"
            sock.close()
        for sock in built.callers:
            sock.close()
