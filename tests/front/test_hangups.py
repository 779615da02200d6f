"""Who is told of connections that nobody reads from any more."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

from pt_bridge.front.hangups import TOLD_AT_ONCE, Hangups
from pt_bridge.net.sockets import reset
from tests.support.tcp import (
    Pair,
    closing,
    pair,
    read_to_end,
    turn_until,
    wait_for_hangup,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def watched(number: int = 1) -> Iterator[tuple[Hangups, list[Pair], list[int]]]:
    """Watch the second sockets of pairs; see who was told of, by its place."""
    pairs = [pair() for _ in range(number)]
    told: list[int] = []
    with closing(*pairs), Hangups(asyncio.get_running_loop()) as hangups:
        for place, (_, sock) in enumerate(pairs):
            hangups.watch(sock, lambda place=place: told.append(place))  # type: ignore[misc]
        yield hangups, pairs, told


async def turns() -> None:
    """Let the loop turn, so that whatever was to be told is told."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_reset_behind_an_end_is_told_once() -> None:
    """RL-10: its EOF was read, so no reader can wait for more."""
    with watched() as (hangups, [(peer, sock)], told):
        peer.shutdown(socket.SHUT_WR)
        assert await read_to_end(sock) == b""
        await turns()
        assert told == []
        reset(peer)
        await turn_until(lambda: told)
        await turns()
        assert told == [0]
        assert len(hangups) == 0
        hangups.forget(sock)  # which changes nothing


async def test_bytes_and_an_end_are_no_hangup() -> None:
    """RL-03: the other direction goes on."""
    with watched() as (hangups, [(peer, _)], told):
        peer.send(b"bytes")
        peer.shutdown(socket.SHUT_WR)
        await turns()
        assert told == []
        assert len(hangups) == 1


async def test_one_that_was_dead_before_is_told_of() -> None:
    """RL-10: nobody must be quick."""
    with watched() as (hangups, [(peer, sock)], told):
        hangups.forget(sock)
        reset(peer)
        wait_for_hangup(sock)
        hangups.watch(sock, lambda: told.append(7))
        await turn_until(lambda: told)
        assert told == [7]


async def test_one_that_is_forgotten_is_not_told_of() -> None:
    """LC-09: its socket may be closed then, and the number another's."""
    with watched(2) as (hangups, pairs, told):
        hangups.forget(pairs[0][1])
        for peer, sock in pairs:
            reset(peer)
            wait_for_hangup(sock)
        await turn_until(lambda: told)
        await turns()
        assert told == [1]


async def test_one_may_end_others_that_were_about_to_be_told_of() -> None:
    """RL-10: nobody is called for a connection that somebody has closed."""
    with watched(0) as (hangups, _, told):
        pairs = [pair() for _ in range(3)]
        with closing(*pairs):

            def end_all(place: int) -> None:
                told.append(place)
                for _, sock in pairs:
                    hangups.forget(sock)
                    sock.close()

            for place, (peer, sock) in enumerate(pairs):
                hangups.watch(sock, lambda place=place: end_all(place))  # type: ignore[misc]
                reset(peer)
            await turn_until(lambda: told)
            await turns()
            assert len(told) == 1


async def test_a_crowd_is_told_of_while_others_have_their_turn() -> None:
    """RL-10: all of it, but not at once."""
    number = 2 * TOLD_AT_ONCE + 1
    with watched(number) as (_, pairs, told):
        for peer, sock in pairs:
            reset(peer)
            wait_for_hangup(sock)
        seen: set[int] = set()
        while len(told) < number:
            await asyncio.sleep(0)
            seen.add(len(told))
        assert sorted(told) == list(range(number))
        assert TOLD_AT_ONCE in seen


async def test_leaving_the_block_tells_nobody() -> None:
    """LC-09: nothing outlives it."""
    peer, sock = pair()
    told: list[int] = []
    with closing((peer, sock)):
        with Hangups(asyncio.get_running_loop()) as hangups:
            hangups.watch(sock, lambda: told.append(1))
            reset(peer)
            wait_for_hangup(sock)
        await turns()
        assert told == []
        assert len(hangups) == 0
