"""A hostile peer, which has the cert, gets a closed connection, and nothing else.

It speaks to a server through a real PT. Meanwhile an honest client is served, nothing
reaches the service that should not, and the server's memory stays what it was.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from typing import TYPE_CHECKING

import pytest

from chaos.remains import descriptors
from chaos.stage import bridge
from integration.support.hostile import (
    ACCEPT,
    BEAT,
    BYE,
    DATA,
    EOF,
    OPEN,
    PREFACE_SIZE,
    RESET,
    TO_THE_DEAF,
    Stage,
    frame,
    numbered,
    open_frame,
)
from integration.support.pairings import network
from integration.support.programs import DEADLINE, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from integration.support.hostile import Peer
    from integration.support.pairings import Network

MIB = 1024 * 1024
# By how much the server may grow (bytes): what Python itself keeps, and no more.
MOST_GROWTH = 16 * MIB
MOST_DATA, MOST_OTHER = 1 << 20, 512
SKIPPED = 0x80
LONG = 3 * DEADLINE
CUT = 0
# Connections that the honest client may keep ready meanwhile.
SPARE = 20
WORDS = b"some words"

# What may not come, behind the preface.
BREACHES = {
    "DATA before OPEN": [frame(DATA, WORDS)],
    "EOF before OPEN": [numbered(EOF, 1)],
    "RESET before OPEN": [numbered(RESET, 1, bytes([CUT]))],
    "OPEN with another number": [open_frame(2)],
    "OPEN with the number 0": [open_frame(0)],
    "OPEN within a stream": [open_frame(1), open_frame(2)],
    "OPEN without an id": [numbered(OPEN, 1, b"\1")],
    "OPEN with more than an id": [frame(OPEN, open_frame(1)[4:] + b"+")],
    "OPEN that is empty": [frame(OPEN)],
    "ACCEPT from a client": [open_frame(1), numbered(ACCEPT, 1)],
    "EOF of another stream": [open_frame(1), numbered(EOF, 2)],
    "EOF with more than a number": [open_frame(1), numbered(EOF, 1, b"+")],
    "EOF without a number": [open_frame(1), frame(EOF, b"\0")],
    "two EOFs": [open_frame(1), numbered(EOF, 1), numbered(EOF, 1)],
    "DATA behind EOF": [open_frame(1), numbered(EOF, 1), frame(DATA, WORDS)],
    "RESET of a stream to come": [open_frame(1), numbered(RESET, 9, bytes([CUT]))],
    "DATA without a byte": [open_frame(1), frame(DATA)],
    "DATA that is too long": [open_frame(1), frame(DATA, length=MOST_DATA + 1)],
    "the longest DATA of all": [open_frame(1), frame(DATA, length=0xFFFFFF)],
    "RESET that is too long": [
        open_frame(1),
        numbered(RESET, 1, bytes([CUT]) + bytes(MOST_OTHER)),
    ],
    "an unknown type that is too long": [frame(SKIPPED, length=MOST_OTHER + 1)],
    "BEAT with a payload": [frame(BEAT, b"+")],
    "BYE with a payload": [frame(BYE, b"+")],
    "BYE within a stream": [open_frame(1), frame(BYE)],
    "the type 0": [frame(0)],
    "the first type that nobody knows": [frame(8)],
    "the last type that nobody knows": [frame(SKIPPED - 1, b"\0\1")],
    "5,000 BEATs": [frame(BEAT)] * 5_000,
    "5,000 BEATs within a stream": [open_frame(1), *[frame(BEAT)] * 5_000],
    "5,000 frames to skip": [frame(SKIPPED, b"+")] * 5_000,
    "noise": [b"\xff" * 1_000],
}
# Those begin a stream as they may, so the service may have been reached.
BEGINNING = open_frame(1)[:4]


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """Return a network."""
    with network(tmp_path_factory.mktemp("hostile")) as net:
        yield net


@pytest.fixture(scope="module")
def stage(net: Network) -> Iterator[Stage]:
    """Return a server and both kinds of clients."""
    with net.site.inside():
        stage = Stage(net)
    with contextlib.closing(stage):
        yield stage


@pytest.fixture(autouse=True)
def check_memory(stage: Stage) -> Iterator[Callable[[], None]]:
    """Return what sees that the server has not grown, and see that in the end."""
    process = bridge(stage.server)
    before = process.memory_full_info().uss

    def check() -> None:
        growth = process.memory_full_info().uss - before
        assert growth < MOST_GROWTH, f"it has grown by {growth / MIB:.1f} MiB"

    yield check
    check()


@pytest.mark.parametrize("name", BREACHES)
def test_the_connection_ends_after(net: Network, stage: Stage, name: str) -> None:
    frames = BREACHES[name]
    may_reach = frames[0].startswith(BEGINNING)

    async def breach() -> None:
        async with stage.service() as service:
            async with stage.peer() as peer:
                await peer.say(stage.preface, *frames)
                await peer.hear_the_end()
            assert len(service.heard) <= may_reach
            assert not any(service.heard)
            await stage.honest_ones_are_served()

    net.run(breach())


def test_a_stream_of_no_known_kind_reaches_no_service(
    net: Network, stage: Stage
) -> None:
    """It is refused, or the connection ends."""

    async def begin() -> None:
        async with stage.service() as service, stage.peer() as peer:
            await peer.say(stage.preface, open_frame(1, kind=99))
            assert (await peer.hear_the_end_or(1))[:1] in (b"", bytes([RESET]))
            assert service.heard == []

    net.run(begin())


def test_what_nobody_knows_yet_is_skipped(net: Network, stage: Stage) -> None:
    """So that a later version may say more."""

    async def skip() -> None:
        async with stage.service() as service, stage.peer() as peer:
            more = [frame(kind, os.urandom(kind)) for kind in range(SKIPPED, 256)]
            begin, end = more[:60], more[60:]
            await peer.say(stage.preface, *begin, open_frame(1), *end)
            await peer.say(frame(DATA, WORDS), numbered(EOF, 1))
            assert await peer.hear_frame() == (ACCEPT, b"\0\1")
            assert await peer.hear_data(len(WORDS)) == WORDS
            assert await peer.hear_frame() == (EOF, b"\0\1")
            assert service.heard == [WORDS]

    net.run(skip())


@pytest.mark.parametrize("version", [0, 2, 255])
def test_another_version_is_ended_and_never_relayed(
    net: Network, stage: Stage, version: int
) -> None:
    async def begin() -> None:
        async with stage.service() as service:
            async with stage.peer() as peer:
                await peer.say(stage.preface[:-1], bytes([version]), open_frame(1))
                assert await peer.hear_the_end() == b""
            assert service.heard == []

    net.run(begin())


@pytest.mark.parametrize(
    ("size", "rest"),
    [(1, b""), (8, b""), (PREFACE_SIZE - 1, b""), (1, b"~"), (PREFACE_SIZE - 2, b"~")],
)
def test_a_part_of_a_preface_is_a_plain_stream(
    net: Network, stage: Stage, size: int, rest: bytes
) -> None:
    """Some other protocol may begin so; it gets all its bytes, after 5 s at most."""

    async def begin() -> None:
        async with stage.service() as service, stage.peer() as peer:
            said = stage.preface[:size] + rest
            await peer.say(said)
            assert await peer.hear(len(said)) == said
            assert service.heard == [said]

    net.run(begin())


def test_frames_of_one_byte_by_the_thousand_let_others_live(
    net: Network, stage: Stage
) -> None:
    count = 200_000

    async def flood(peer: Peer) -> None:
        await peer.say(*(frame(DATA, bytes([n & 0xFF])) for n in range(count)))
        await peer.say(numbered(EOF, 1))

    async def listen(peer: Peer) -> None:
        whole = bytes(n & 0xFF for n in range(256)) * (count // 256 + 1)
        assert await peer.hear_data(count) == whole[:count]

    async def both() -> None:
        async with (
            stage.service() as service,
            stage.peer() as peer,
            asyncio.TaskGroup() as group,
        ):
            await peer.say(stage.preface, open_frame(1))
            tasks = [group.create_task(flood(peer)), group.create_task(listen(peer))]
            while not all(task.done() for task in tasks):
                await stage.honest_ones_are_served()
            assert b"" not in service.heard

    net.run(both(), LONG)


def test_streams_that_are_reset_at_once_wait_but_are_not_cut(
    net: Network, stage: Stage
) -> None:
    """At most 100 a second, so that nobody floods the service through them."""
    count, rate = 400, 100

    async def flood() -> None:
        async with stage.service() as service, stage.peer() as peer:
            begun = time.monotonic()
            await peer.say(stage.preface)
            for number in range(1, count + 1):
                await peer.say(open_frame(number))
                await peer.say(numbered(RESET, number, bytes([CUT])))
                while (await peer.hear_frame())[0] != RESET:
                    pass
                if number % rate == 0:
                    await stage.honest_ones_are_served()
            last = count + 1
            await peer.say(open_frame(last), frame(DATA, WORDS))
            assert await peer.hear_data(len(WORDS)) == WORDS
            # A second's worth may come at once; a slow machine only takes longer.
            assert time.monotonic() - begun > (count - 2 * rate) / rate
            assert service.heard.count(WORDS) == 1
            assert len(service.heard) <= count + count // rate + 1

    net.run(flood(), LONG)


@pytest.mark.parametrize(
    "frames",
    [
        [open_frame(1)[:7]],
        [frame(OPEN, length=MOST_OTHER)],
        [open_frame(1), frame(DATA, WORDS, length=MOST_DATA)],
        [open_frame(1), frame(RESET, b"\0", length=3)],
    ],
    ids=["OPEN", "a long OPEN", "DATA", "RESET"],
)
def test_a_frame_that_never_ends_holds_up_nobody(
    net: Network, stage: Stage, frames: list[bytes]
) -> None:
    async def begin() -> None:
        async with stage.service() as service, contextlib.AsyncExitStack() as stack:
            for _ in range(20):
                peer = await stack.enter_async_context(stage.peer())
                await peer.say(stage.preface, *frames)
            await stage.honest_ones_are_served()
            assert len(service.heard) <= 20 + 1

    net.run(begin())


def test_a_service_that_does_not_read_makes_the_server_hold_nothing(
    net: Network, stage: Stage, check_memory: Callable[[], None]
) -> None:
    """What is not read waits with whoever has sent it."""
    frames = [frame(DATA, TO_THE_DEAF), *[frame(DATA, bytes(MOST_DATA))] * 100]

    async def flood() -> None:
        async with (
            stage.service(),
            stage.peer() as peer,
            asyncio.TaskGroup() as group,
        ):
            await peer.say(stage.preface, open_frame(1))
            flooding = group.create_task(peer.say(*frames))
            for _ in range(20):
                await stage.honest_ones_are_served()
            assert not flooding.done()
            check_memory()
            flooding.cancel()

    net.run(flood())


def test_1000_connections_that_say_nothing_keep_nobody_out(
    net: Network, stage: Stage, check_memory: Callable[[], None]
) -> None:
    server = bridge(stage.server)
    before = descriptors(server)["socket"]

    async def crowd() -> None:
        async with stage.service() as service, contextlib.AsyncExitStack() as stack:
            for _ in range(1_000):
                await stack.enter_async_context(stage.peer())
            await stage.honest_ones_are_served()
            check_memory()
            assert sum(map(bool, service.heard)) == 1

    net.run(crowd(), LONG)
    # Or the service of the next test is reached for who said nothing here.
    wait_until(
        lambda: descriptors(server)["socket"] <= before + SPARE,
        "the server has let the crowd go",
    )
