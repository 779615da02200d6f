"""The HTTP server of the numbers: who reads it holds nothing up."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

import pytest

from pt_bridge.metrics.scrape_server import (
    MAX_CONNECTIONS,
    MAX_REQUEST,
    ScrapeServer,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

ANSWER_LIMIT = 60.0  # seconds: generous
GET = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
Address = tuple[str, int]


def write(accept: str) -> tuple[str, bytes]:
    return "text/x-numbers", f"a 1\naccept {accept}\n".encode()


@contextlib.asynccontextmanager
async def serving(
    write: Callable[[str], tuple[str, bytes]] = write, *, limit: float = ANSWER_LIMIT
) -> AsyncIterator[Address]:
    sock = socket.create_server(("127.0.0.1", 0))
    async with ScrapeServer(sock, write, limit=limit):
        yield sock.getsockname()


async def ask(where: Address, request: bytes, *, eof: bool = False) -> bytes:
    """Send a request, and return everything that comes until the end, or a reset."""
    reader, writer = await asyncio.open_connection(*where)
    try:
        writer.write(request)
        if eof:
            writer.write_eof()
        return await rest(reader)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def rest(reader: asyncio.StreamReader) -> bytes:
    try:
        return await asyncio.wait_for(reader.read(), ANSWER_LIMIT)
    except ConnectionError:
        return b""


async def test_the_page_is_given_to_who_asks_for_it() -> None:
    """RFC 9112: a status, a length, the content; and the connection ends."""
    request = GET.replace(b"Host", b"Accept: text/x\r\nHost")
    async with serving() as where:
        answer = await ask(where, request)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert b"Content-Type: text/x-numbers" in head
    assert b"Content-Length: 18" in head
    assert b"Connection: close" in head
    assert body == b"a 1\naccept text/x\n"


@pytest.mark.parametrize(
    ("request_", "status", "has_body"),
    [
        (GET.replace(b"GET", b"HEAD"), b"200", False),
        (GET.replace(b"/metrics", b"/metrics?x=1"), b"200", True),
        (GET.replace(b"/metrics", b"/"), b"404", True),
        (GET.replace(b"GET", b"POST"), b"405", True),
        (b"hello\r\n\r\n", b"400", True),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"400", True),
        (GET.replace(b"Host: x", b"X: " + b"y" * MAX_REQUEST), b"400", True),
    ],
)
async def test_anything_else_is_answered_in_words(
    request_: bytes,
    status: bytes,
    has_body: bool,  # noqa: FBT001
) -> None:
    """And a request that is too long is none."""
    async with serving() as where:
        answer = await ask(where, request_)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 " + status)
    assert bool(body) == has_body


async def test_who_has_nothing_more_to_say_is_answered() -> None:
    """A half-closed connection is a whole request."""
    async with serving() as where:
        assert b" 200 " in await ask(where, GET, eof=True)
        assert await ask(where, b"GET /met", eof=True) == b""


async def test_what_comes_behind_a_request_is_not_answered() -> None:
    """One connection, one answer."""
    async with serving() as where:
        answer = await ask(where, GET + GET)
    assert answer.count(b"HTTP/1.1") == 1


async def test_a_slow_reader_is_ended() -> None:
    """The deadline holds from the connection on, whether a request has come or not."""
    async with serving(limit=0.05) as where:
        assert await ask(where, GET[:-2]) == b""


async def test_a_crowd_that_asks_for_nothing_keeps_nobody_out() -> None:
    """The one who has waited longest goes; the others are served all the same."""
    async with serving() as where, contextlib.AsyncExitStack() as stack:
        crowd = []
        for _ in range(MAX_CONNECTIONS):
            reader, writer = await asyncio.open_connection(*where)
            stack.callback(writer.close)
            writer.write(GET[:-2])
            crowd.append((reader, writer))
        assert b" 200 " in await ask(where, GET)
        (first, _), *others = crowd
        assert await rest(first) == b""
        for reader, writer in others:
            writer.write(GET[-2:])
            assert b" 200 " in await rest(reader)


async def test_the_end_of_the_block_ends_every_reader() -> None:
    """Nothing outlives it."""
    async with serving() as where:
        reader, writer = await asyncio.open_connection(*where)
        writer.write(GET[:-2])
        assert b" 200 " in await ask(where, GET)  # so the first was accepted, too
    assert await rest(reader) == b""
    writer.close()


async def test_a_bug_ends_one_reader(caplog: pytest.LogCaptureFixture) -> None:
    """And is in the log, not on the page."""

    def broken(accept: str) -> tuple[str, bytes]:
        raise ZeroDivisionError

    async with serving(broken) as where:
        answer = await ask(where, GET)
    assert b" 500 " in answer
    assert b"ZeroDivisionError" not in answer
    assert "a bug ended a reader" in caplog.text
