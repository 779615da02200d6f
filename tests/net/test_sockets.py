"""What is done to every TCP connection, seen from its other end."""

from __future__ import annotations

import contextlib
import socket

import pytest

from pt_bridge.net.sockets import (
    answer,
    half_close,
    has_ended,
    is_dead,
    is_established,
    is_readable,
    prepare,
    reset,
    unsent,
    waiting,
)
from tests.support.tcp import (
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


@pytest.mark.parametrize(
    ("option", "value"),
    [(socket.TCP_KEEPIDLE, 15), (socket.TCP_KEEPINTVL, 15), (socket.TCP_KEEPCNT, 9)],
)
def test_a_dead_peer_is_noticed_as_soon_as_by_a_program_in_go(
    option: int, value: int
) -> None:
    """RL-05: the kernel's own default is two hours."""
    with socket.socket() as sock:
        prepare(sock)
        assert sock.getsockopt(socket.IPPROTO_TCP, option) == value


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
    """An acknowledgement may be put off, though all was read long ago."""
    outer, inner = pair(receive_buffer=4096)
    with closing((outer, inner)):
        sent = outer.send(noise(100_000))
        assert 0 < waiting(outer) < unsent(outer)
        assert await read(inner, sent) == noise(100_000)[:sent]
        assert waiting(outer) == 0


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


async def test_a_connection_is_established_until_one_side_ends_it() -> None:
    """SK-06: what needs no waiting for."""
    near, far = pair()
    with closing((near, far)), socket.socket() as other:
        assert is_established(near)
        assert not is_established(other)
        far.close()
        await turn_until(lambda: not is_established(near))


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


async def test_the_end_of_a_connection_is_known_before_it_is_read() -> None:
    """Be it an end, behind bytes that nobody has read yet, or a reset."""
    first, second = pair(), pair()
    with closing(first, second):
        assert not has_ended(first[1])
        await write(first[0], b"unread")
        first[0].close()
        await turn_until(lambda: has_ended(first[1]))
        reset(second[0])
        await turn_until(lambda: has_ended(second[1]))
    assert not has_ended(first[1])


def test_what_can_be_read_or_accepted_is_readable() -> None:
    """SE-10: it is asked without waiting."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert not is_readable(server)
        with socket.create_connection(server.getsockname()):
            assert is_readable(server)
