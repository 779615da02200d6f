"""A request through shadowsocks, and what comes back, or does not."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING

import pytest

from pt_bridge.doctor import answer_check
from pt_bridge.doctor.report import Verdict
from pt_bridge.errors import NO_ANSWER
from pt_bridge.formats.profile import Profile
from pt_bridge.protocol.address import Address
from tests.support.processes import CLIENT, PLAIN_OPTIONS

if TYPE_CHECKING:
    from collections.abc import Callable

    from pt_bridge.doctor.report import CheckResult
    from tests.support.processes import Bench

LIMIT = 20.0
# More than the stand-in needs to start, and all of it is waited for.
SHORT = 4.0
THROUGH = Address("web.example", 80)


async def looked(
    bench: Bench,
    handle: Callable[[asyncio.StreamReader, asyncio.StreamWriter], object],
    *,
    method: str = "plain",
    limit: float = LIMIT,
) -> CheckResult:
    """Ask through the stand-in for ss-local; see that nothing is left."""
    bench.install_ss_local()
    bench.pt.play(*CLIENT)
    open_ones: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_ones.append(writer)
        if await reader.read(4096):
            handle(reader, writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        profile = Profile(
            hosts=(host,),
            port=port,
            method=method,
            password="a-long-password",
            plugin_opts=PLAIN_OPTIONS,
        )
        result = await answer_check.look(
            profile, THROUGH, (), variables(bench), limit=limit
        )
        for writer in open_ones:
            writer.transport.abort()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
    assert bench.pt.is_gone()
    assert not list((bench.folder / "tmp").iterdir())
    return result


def variables(bench: Bench) -> dict[bytes, bytes]:
    return {key.encode(): os.fsencode(value) for key, value in bench.variables.items()}


def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")


def close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


def wait(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
    pass


async def test_a_byte_that_comes_back_is_told(bench: Bench) -> None:
    """Through shadowsocks and everything behind it."""
    result = await looked(bench, answer)
    assert result.verdict is Verdict.OK
    assert result.text.startswith("web.example:80: HTTP/1.1 204 No Content (")


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("plain", "(the connection was closed): its password or method"),
        ("refused", "ss-local ended as soon as it was started: Invalid cipher name"),
    ],
)
async def test_where_nothing_comes_back_it_is_said_why(
    bench: Bench, method: str, words: str
) -> None:
    result = await looked(bench, close, method=method)
    assert result.exit_code == NO_ANSWER
    assert words in result.text


async def test_an_answer_is_not_waited_for_without_end(bench: Bench) -> None:
    result = await looked(bench, wait, limit=SHORT)
    assert result.exit_code == NO_ANSWER
    assert "no answer in time" in result.text
    assert "password" in result.advice


@pytest.mark.parametrize(
    ("profile", "through", "advice"),
    [
        (Profile(), THROUGH, "config.json"),
        (Profile(method="aes-128-gcm"), THROUGH, "config.json"),
        (Profile(method="aes-128-gcm", password="password"), None, "--through"),
    ],
)
async def test_who_asks_for_no_answer_is_told_how_to(
    bench: Bench, profile: Profile, through: Address | None, advice: str
) -> None:
    result = await answer_check.look(profile, through, (), variables(bench))
    assert result.verdict is Verdict.SKIPPED
    assert advice in result.advice
