"""A handshake on a socket: what test_dial and test_callback do not show."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from pt_bridge.errors import ProtocolError
from pt_bridge.net.handshake import HandshakeRunner
from pt_bridge.protocol.handshake import Ask
from tests.support.clock import ClockedLoop
from tests.support.tcp import closing, pair, read, write

if TYPE_CHECKING:
    from collections.abc import Generator


def echo(*sizes: int) -> Generator[Ask, bytes, bytes]:
    """Say what was heard last, and hear the next; return all of it."""
    heard = last = b""
    for size in sizes:
        last = yield Ask(last, size)
        heard += last
    yield Ask(last, 0)
    return heard


async def test_a_step_that_reads_nothing_is_followed_at_once() -> None:
    """Nobody would tell us to go on."""
    ours, theirs = pair()
    with closing((ours, theirs)):
        conversation = HandshakeRunner(
            asyncio.get_running_loop(), ours, echo(0, 2, 0, 1)
        )
        await write(theirs, b"abc")
        assert await conversation.done == b"abc"
        conversation.stop()
        assert await read(theirs, 3) == b"abc"


async def test_a_handshake_that_fails_at_its_first_step_is_an_error() -> None:
    """SOCKS4 can carry no IPv6 address, say."""

    def fails() -> Generator[Ask, bytes, None]:
        raise ProtocolError("no")
        yield Ask(b"", 0)

    ours, theirs = pair()
    with closing((ours, theirs)):
        conversation = HandshakeRunner(asyncio.get_running_loop(), ours, fails())
        with pytest.raises(ProtocolError, match="no"):
            await conversation.done
        conversation.stop()


async def test_one_that_is_stopped_leaves_the_socket_alone() -> None:
    """Its owner goes on with it."""
    ours, theirs = pair()
    with closing((ours, theirs)):
        conversation = HandshakeRunner(asyncio.get_running_loop(), ours, echo(5))
        conversation.stop()
        assert conversation.done.cancelled()
        await write(theirs, b"12345")
        assert await read(ours, 5) == b"12345"


async def test_one_that_is_not_through_in_time_is_an_error() -> None:
    """SK-11: of the kind that every wait's end is."""
    clock = ClockedLoop(asyncio.get_running_loop())
    loop = clock.as_loop
    ours, theirs = pair()
    with closing((ours, theirs)):
        late = HandshakeRunner(loop, ours, echo(5), limit=3)
        clock.pass_by(2)
        assert not late.done.done()
        clock.pass_by(1)
        with pytest.raises(TimeoutError):
            await late.done
        late.stop()


async def test_what_does_not_fit_into_the_buffer_is_an_error() -> None:
    """No handshake is that long; to wait would only hide that it is."""
    ours, theirs = pair(send_buffer=4096, receive_buffer=4096)
    with closing((ours, theirs)):
        long = b"x" * 50_000_000

        def says_much() -> Generator[Ask, bytes, None]:
            yield Ask(long, 1)

        conversation = HandshakeRunner(asyncio.get_running_loop(), ours, says_much())
        with pytest.raises(OSError, match="buffer"):
            await conversation.done
        conversation.stop()
