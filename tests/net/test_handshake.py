"""A handshake on a socket: what test_dial and test_callback do not show."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from pt_bridge.errors import ProtocolError
from pt_bridge.net.handshake import HandshakeRunner
from pt_bridge.protocol.handshake import Ask
from tests.support.tcp import closing, is_silent, pair, read, turn_until, write

if TYPE_CHECKING:
    import socket
    from collections.abc import Generator

T = TypeVar("T")


def echo(*sizes: int) -> Generator[Ask, bytes, bytes]:
    """Say what was heard last, and hear the next; return all of it."""
    heard = last = b""
    for size in sizes:
        last = yield Ask(last, size)
        heard += last
    yield Ask(last, 0)
    return heard


def begin(
    sock: socket.socket, handshake: Generator[Ask, bytes, T]
) -> tuple[HandshakeRunner[T], asyncio.Future[T | Exception]]:
    """Begin one; return it, and what will be what it ended with."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T | Exception] = loop.create_future()
    runner = HandshakeRunner(loop, sock, handshake, done.set_result)
    assert not done.done()  # nobody is called back while it begins
    return runner, done


async def test_a_step_that_reads_nothing_is_followed_at_once() -> None:
    """Nobody would tell us to go on."""
    ours, theirs = pair()
    with closing((ours, theirs)):
        _, done = begin(ours, echo(0, 2, 0, 1))
        await write(theirs, b"abc")
        assert await done == b"abc"
        assert await read(theirs, 3) == b"abc"


async def test_a_step_that_says_nothing_is_taken_at_once() -> None:
    """What it asks for has mostly come with what was asked for before."""

    def reads_twice() -> Generator[Ask, bytes, bytes]:
        first = yield Ask(b"", 2)
        return first + (yield Ask(b"", 2))

    ours, theirs = pair()
    with closing((ours, theirs)):
        _, done = begin(ours, reads_twice())
        await write(theirs, b"ab")
        await turn_until(lambda: is_silent(ours))
        await write(theirs, b"cdef")
        assert await done == b"abcd"
        assert await read(ours, 2) == b"ef"


async def test_a_handshake_that_fails_at_its_first_step_is_an_error() -> None:
    """SOCKS4 can carry no IPv6 address, say."""

    def fails() -> Generator[Ask, bytes, None]:
        raise ProtocolError("no")
        yield Ask(b"", 0)

    ours, theirs = pair()
    with closing((ours, theirs)):
        _, done = begin(ours, fails())
        assert isinstance(await done, ProtocolError)


async def test_a_bug_in_a_handshake_ends_it() -> None:
    """Else whoever waits would wait for the limit."""

    def is_wrong() -> Generator[Ask, bytes, None]:
        yield Ask(b"", 1)
        raise KeyError

    ours, theirs = pair()
    with closing((ours, theirs)):
        _, done = begin(ours, is_wrong())
        await write(theirs, b"x")
        assert isinstance(await done, KeyError)


async def test_one_that_is_stopped_leaves_the_socket_alone() -> None:
    """Its owner goes on with it."""
    ours, theirs = pair()
    with closing((ours, theirs)):
        runner, done = begin(ours, echo(5))
        runner.stop()
        runner.stop()
        await write(theirs, b"12345")
        assert await read(ours, 5) == b"12345"
        assert not done.done()


async def test_one_that_is_stopped_before_it_tells_of_its_end_tells_nobody() -> None:
    """Its owner may have gone."""
    ours, theirs = pair()
    with closing((ours, theirs)):
        runner, done = begin(ours, echo())
        runner.stop()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not done.done()


async def test_what_does_not_fit_into_the_buffer_is_an_error() -> None:
    """No handshake is that long; to wait would only hide that it is."""
    ours, theirs = pair(send_buffer=4096, receive_buffer=4096)
    with closing((ours, theirs)):
        long = b"x" * 50_000_000

        def says_much() -> Generator[Ask, bytes, None]:
            yield Ask(long, 1)

        _, done = begin(ours, says_much())
        assert "buffer" in str(await done)
