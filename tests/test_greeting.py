"""What comes for a PT client before it is through with its handshake."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from pt_bridge.connection import reset
from pt_bridge.greeting import MOST, Greeting
from pt_bridge.pump import End
from pt_bridge.sock_diag import SockDiag
from tests.tcp import (
    closing,
    is_free,
    noise,
    pair,
    read,
    readable,
    turn_until,
    wait_for_hangup,
    write,
)

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Coroutine

MORE = 2 * MOST + 1  # than is fed at once


class Rig:
    """A greeting, and the peers of its two sockets.

    Attributes:
        server: who speaks first.
        pt: who is to read it.
        greeting: what is between.
        end: how that ended.
    """

    def __init__(self, sock_diag: SockDiag) -> None:
        loop = asyncio.get_running_loop()
        self.server, self._source = self._net = pair()
        self._sink, self.pt = self._leg = pair()
        self.end: asyncio.Future[End] = loop.create_future()
        self.greeting = Greeting(
            loop, self._source, self._sink, self.end.set_result, sock_diag=sock_diag
        )
        self.closing = closing(self._net, self._leg)

    @property
    def is_free(self) -> bool:
        """Whether the loop watches neither of its sockets."""
        loop = asyncio.get_running_loop()
        return is_free(loop, self._source, self._sink)

    def wait_until_the_pt_has_hung_up(self) -> None:
        """Wait until the greeting's side knows."""
        wait_for_hangup(self._sink)


def run(
    test: Callable[[Rig], Coroutine[None, None, None]], *, blind: bool = False
) -> None:
    async def main() -> None:
        sock_diag = SockDiag()
        with contextlib.ExitStack() as stack:
            if not blind:
                stack.enter_context(sock_diag)
            rig = Rig(sock_diag)
            stack.enter_context(rig.closing)
            await test(rig)

    asyncio.run(main())


async def some(sock: socket.socket) -> bytes:
    """Read what there is in one go, as a PT does."""
    await readable(sock)
    return sock.recv(MORE)


@pytest.mark.parametrize("size", [2, 100, MOST])
def test_the_last_byte_comes_by_itself(size: int) -> None:
    async def test(rig: Rig) -> None:
        rig.greeting.start()
        await write(rig.server, noise(size))
        assert await some(rig.pt) == noise(size)[:-1]
        assert await some(rig.pt) == noise(size)[-1:]
        assert not rig.greeting.is_blocked
        assert rig.greeting.moved == size

    run(test)


def test_a_single_byte_comes_at_once() -> None:
    async def test(rig: Rig) -> None:
        rig.greeting.start()
        for byte in (b"a", b"b"):
            await write(rig.server, byte)
            assert await some(rig.pt) == byte

    run(test)


def test_a_single_byte_waits_for_those_before_it() -> None:
    async def test(rig: Rig) -> None:
        rig.greeting.start()
        await write(rig.server, b"ab")
        await readable(rig.pt)
        await write(rig.server, b"c")
        assert [await some(rig.pt) for _ in range(3)] == [b"a", b"b", b"c"]

    run(test)


@pytest.mark.parametrize("blind", [False, True])
def test_all_comes_and_then_the_end(blind: bool) -> None:  # noqa: FBT001
    """The kernel may tell nothing: another system, a sandbox."""

    async def test(rig: Rig) -> None:
        rig.greeting.start()
        await write(rig.server, noise(MORE))
        rig.server.close()
        assert await read(rig.pt, MORE) == noise(MORE)
        assert await rig.end is End.EOF
        assert rig.greeting.moved == MORE
        assert rig.is_free

    run(test, blind=blind)


def test_a_reset_is_told() -> None:
    async def test(rig: Rig) -> None:
        rig.greeting.start()
        reset(rig.server)
        assert await rig.end is End.SOURCE_RESET
        assert rig.is_free

    run(test)


def test_a_pt_that_has_hung_up_is_told() -> None:
    async def test(rig: Rig) -> None:
        rig.greeting.start()
        reset(rig.pt)
        rig.wait_until_the_pt_has_hung_up()
        await write(rig.server, noise(100))
        assert await rig.end is End.SINK_RESET
        assert rig.is_free

    run(test)


def test_the_pt_gets_the_rest_when_it_is_through() -> None:
    """What it has not read by then, it reads after its handshake."""

    async def test(rig: Rig) -> None:
        rig.greeting.start()
        await write(rig.server, noise(100))
        await turn_until(lambda: rig.greeting.is_blocked)
        assert rig.greeting.finish()
        assert rig.is_free
        assert await read(rig.pt, 100) == noise(100)

    run(test)


def test_there_may_be_no_rest() -> None:
    async def test(rig: Rig) -> None:
        rig.greeting.start()
        assert rig.greeting.finish()
        assert rig.is_free

    run(test)


def test_a_rest_that_the_pt_does_not_take_is_told() -> None:
    async def test(rig: Rig) -> None:
        rig.greeting.start()
        await write(rig.server, noise(100))
        await turn_until(lambda: rig.greeting.is_blocked)
        reset(rig.pt)
        rig.wait_until_the_pt_has_hung_up()
        assert not rig.greeting.finish()

    run(test)


def test_nothing_comes_after_it_was_stopped() -> None:
    async def test(rig: Rig) -> None:
        rig.greeting.start()
        await write(rig.server, noise(100))
        await turn_until(lambda: rig.greeting.is_blocked)
        rig.greeting.stop()
        assert rig.is_free
        assert await some(rig.pt) == noise(100)[:-1]
        assert not rig.end.done()

    run(test)
