"""What is done to every TCP connection, seen from its other end."""

from __future__ import annotations

import contextlib
import socket

import pytest

from pt_bridge.connection import (
    answer,
    end_both_ways,
    half_close,
    is_dead,
    prepare,
    reset,
    unread,
    unsent,
    waiting,
)
from tests.tcp import (
    closing,
    noise,
    pair,
    read,
    read_to_end,
    turn_until,
    wait_for_hangup,
    write,
)


def test_a_prepared_connection_waits_for_nothing_and_notices_a_dead_peer() -> None:
    """RL-05: TCP_NODELAY and SO_KEEPALIVE; non-blocking from accept to close."""
    with socket.socket() as sock:
        prepare(sock)
        assert not sock.getblocking()
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


def test_a_reset_does_not_look_like_an_end() -> None:
    """SK-13: a cut transfer must not look complete."""
    outer, inner = pair()
    with closing((outer, inner)):
        reset(inner)
        assert inner.fileno() == -1
        wait_for_hangup(outer)
        with pytest.raises(ConnectionResetError):
            outer.recv(1)


async def test_a_half_closed_connection_still_hears() -> None:
    """RL-03: the answer comes after the question's end."""
    outer, inner = pair()
    with closing((outer, inner)):
        half_close(inner)
        assert await read_to_end(outer) == b""
        answer = noise(100)
        await write(outer, answer)
        assert await read(inner, 100) == answer


def test_a_connection_that_is_gone_can_be_reset_and_half_closed() -> None:
    """RL-10: whatever the peer did before, nothing is raised."""
    outer, inner = pair()
    with closing((outer, inner)):
        reset(outer)
        wait_for_hangup(inner)
        half_close(inner)
        reset(inner)
        half_close(inner)
        reset(inner)


async def test_what_the_peer_has_not_taken_is_known() -> None:
    """RL-04: a slow host is not a silent one."""
    outer, inner = pair(receive_buffer=4096)
    with closing((outer, inner)):
        assert unsent(outer) == 0
        sent = outer.send(noise(100_000))
        assert 0 < unsent(outer) <= sent
        await read(inner, sent)
        await turn_until(lambda: unsent(outer) == 0)


async def test_what_has_not_even_left_is_known() -> None:
    """Design 3: an acknowledgement may be put off, though all was read long ago."""
    outer, inner = pair(receive_buffer=4096)
    with closing((outer, inner)):
        sent = outer.send(noise(100_000))
        assert 0 < waiting(outer) < unsent(outer)
        assert await read(inner, sent) == noise(100_000)[:sent]
        assert waiting(outer) == 0


async def test_a_connection_may_be_ended_both_ways_and_stay_open() -> None:
    """Wire: whoever watches it hears of the end, as its peer does."""
    outer, inner = pair()
    with closing((outer, inner)):
        end_both_ways(inner)
        assert await read_to_end(inner) == await read_to_end(outer) == b""
        reset(outer)
        wait_for_hangup(inner)
        end_both_ways(inner)


def test_a_connection_that_was_reset_is_known_to_be_dead() -> None:
    """RL-04: nobody reads from a half-closed host, so nobody else would tell."""
    near, far = pair()
    with closing((near, far)):
        assert not is_dead(near)
        near.send(b"never taken")
        reset(far)
        wait_for_hangup(near)
        assert is_dead(near)
        assert unsent(near) == 0


async def test_what_nobody_has_read_yet_is_known() -> None:
    """Design 3: whether a PT's leg is empty; an end is nothing to read."""
    outer, inner = pair()
    with closing((outer, inner)):
        assert unread(inner) == 0
        await write(outer, noise(1000))
        outer.shutdown(socket.SHUT_WR)
        await turn_until(lambda: unread(inner) == 1000)
        assert await read(inner, 600) == noise(1000)[:600]
        assert unread(inner) == 400
        assert await read_to_end(inner) == noise(1000)[600:]
        assert unread(inner) == 0


async def test_an_answer_is_taken_or_it_is_not() -> None:
    """RL-10: a PT that has hung up in the meantime is no error."""
    outer, inner = pair()
    with closing((outer, inner)):
        assert answer(inner, b"\x05\x00")
        assert await read(outer, 2) == b"\x05\x00"
        reset(outer)
        wait_for_hangup(inner)
        assert not answer(inner, b"\x05\x00")


async def test_an_answer_to_who_reads_nothing_is_not_waited_for() -> None:
    """RL-10: who has sent so much with no answer yet is no PT."""
    outer, inner = pair(send_buffer=4096, receive_buffer=4096)
    with closing((outer, inner)):
        with contextlib.suppress(BlockingIOError):
            while True:
                outer.send(noise(100_000))
        assert not answer(outer, b"\x05\x00")
