"""What a socket does not take at once follows, in order, and is bounded."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import socket
from typing import TYPE_CHECKING

from pt_bridge.net.sockets import reset
from pt_bridge.relay.pipes import PIPE_SIZE, STALLED, PipePool
from pt_bridge.relay.splice import fill_from
from pt_bridge.relay.writer import Writer
from tests.support.clock import Clock
from tests.support.tcp import (
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
    from collections.abc import Iterator

    from pt_bridge.relay.pipes import Pipe


class Rig:
    """A writer, and the peer of its socket.

    Attributes:
        told: what its owner was told, but for how often it was blocked.
        blocked: how often.
    """

    def __init__(self, pipes: PipePool) -> None:
        self.pipes = pipes
        self.loop = asyncio.get_running_loop()
        self.sock, self.peer = pair(send_buffer=20_000, receive_buffer=20_000)
        self.source, self.feed = pair()
        self.told: list[object] = []
        self.blocked = 0
        self.writer = Writer(self.loop, self.sock, pipes, self)

    def on_blocked(self) -> None:
        """Take note of it."""
        assert self.writer.is_blocked
        self.blocked += 1

    def on_drained(self) -> None:
        """Take note of it."""
        self.told.append("drained")

    def on_failed(self, error: OSError) -> None:
        """Take note of it."""
        self.told.append(error)

    async def pipe(self, data: bytes) -> Pipe:
        """Return a borrowed pipe with these bytes in it."""
        pipe = self.pipes.borrow()
        assert pipe is not None
        filled = 0
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(write(self.feed, data))
            while filled < len(data):
                await readable(self.source)
                filled += fill_from(pipe, self.source, len(data) - filled)
        return pipe

    def block(self) -> bytes:
        """Send more than the socket takes; return it."""
        data = noise(3_000_000)
        self.writer.send(data)
        assert self.writer.is_blocked
        assert self.blocked == 1
        return data


@contextlib.contextmanager
def rig() -> Iterator[Rig]:
    """Build a rig; see that nothing is left."""
    with PipePool() as pipes:
        built = Rig(pipes)
        with closing((built.sock, built.peer), (built.source, built.feed)):
            yield built
            built.writer.stop()
            built.writer.stop()
            assert not built.writer.is_blocked
            assert built.sock.fileno() < 0 or is_free(built.loop, built.sock)
            assert pipes.lent == 0


async def test_what_is_taken_at_once_is_sent_at_once() -> None:
    with rig() as r:
        r.writer.send(b"one, ")
        r.writer.send(b"two")
        assert not r.writer.is_blocked
        assert await read(r.peer, 8) == b"one, two"
        assert r.told == []


async def test_the_rest_follows_and_then_what_was_said_meanwhile() -> None:
    """In order; the owner is told once, when all of it is gone."""
    with rig() as r:
        data = r.block()
        r.writer.send(b"BEAT")
        r.writer.send(b"EOF")
        assert await read(r.peer, len(data) + 7) == data + b"BEATEOF"
        await turn_until(lambda: r.told)
        assert r.told == ["drained"]
        assert not r.writer.is_blocked


async def test_a_pipe_is_emptied_behind_its_header_and_given_back() -> None:
    with rig() as r:
        data = noise(100)
        r.writer.send_pipe(await r.pipe(data), len(data), b"head")
        assert r.pipes.lent == 0
        assert await read(r.peer, 104) == b"head" + data
        assert r.told == []


async def test_a_pipe_that_is_not_taken_at_once_is_kept() -> None:
    """And what is said meanwhile stands behind it."""
    with rig() as r:
        data = noise(PIPE_SIZE)
        r.writer.send_pipe(await r.pipe(data), len(data), b"head")
        assert (r.writer.is_blocked, r.pipes.lent) == (True, 1)
        r.writer.send(b"EOF")
        assert await read(r.peer, len(data) + 7) == b"head" + data + b"EOF"
        await turn_until(lambda: r.told)
        assert r.pipes.lent == 0


async def test_a_header_that_is_not_taken_is_sent_before_its_pipe() -> None:
    """A socket may be full though nobody waits for it: others write to it, too."""
    with rig() as r:
        data = noise(1000)
        pipe = await r.pipe(data)
        full = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                full += r.sock.send(bytes(100))
        r.writer.send_pipe(pipe, len(data), b"head")
        assert r.writer.is_blocked
        assert await read(r.peer, full + 1004) == bytes(full) + b"head" + data
        await turn_until(lambda: r.told)


async def test_a_message_that_is_not_taken_at_all_is_kept_whole() -> None:
    with rig() as r:
        full = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                full += r.sock.send(bytes(100))
        r.writer.send(b"whole")
        assert r.writer.is_blocked
        assert await read(r.peer, full + 5) == bytes(full) + b"whole"
        await turn_until(lambda: r.told)


async def test_a_pipe_that_the_system_refuses_to_empty_is_copied() -> None:
    """EINVAL: and none is lent from then on."""
    with rig() as r:
        data = noise(PIPE_SIZE)
        pipe = await r.pipe(data)
        flags = fcntl.fcntl(r.sock, fcntl.F_GETFL)
        fcntl.fcntl(r.sock, fcntl.F_SETFL, flags | os.O_APPEND)
        r.writer.send_pipe(pipe, len(data), b"head")
        assert await read(r.peer, len(data) + 4) == b"head" + data
        await turn_until(lambda: r.told)
        assert (r.pipes.lent, r.pipes.borrow()) == (0, None)


async def test_a_peer_that_is_gone_is_told_of_once() -> None:
    """And the pipe is not lost."""
    with rig() as r:
        r.block()
        reset(r.peer)
        await turn_until(lambda: r.told)
        assert len(r.told) == 1
        assert isinstance(r.told[0], ConnectionResetError)
        assert not r.writer.is_blocked


async def test_a_peer_that_is_gone_when_something_is_sent_is_told_of() -> None:
    for what in ("bytes", "a header", "a pipe"):
        with rig() as r:
            pipe = await r.pipe(b"some")
            reset(r.peer)
            wait_for_hangup(r.sock)
            if what == "bytes":
                r.pipes.discard(pipe)
                r.writer.send(b"x")
            else:
                r.writer.send_pipe(pipe, 4, b"head" if what == "a header" else b"")
            (error,) = r.told
            assert isinstance(error, OSError)


async def test_a_pipe_whose_reader_goes_away_is_closed() -> None:
    """It still holds bytes, which the next one must not get."""
    with rig() as r:
        data = noise(PIPE_SIZE)
        r.writer.send_pipe(await r.pipe(data), len(data))
        assert r.pipes.lent == 1
        r.peer.shutdown(socket.SHUT_RD)
        reset(r.peer)
        await turn_until(lambda: r.told)
        assert r.pipes.lent == 0


async def test_a_writer_that_is_stopped_says_nothing_more() -> None:
    with rig() as r:
        r.block()
        r.writer.send(b"never")
        r.writer.stop()
        await read(r.peer, 1000)
        for _ in range(20):
            await asyncio.sleep(0)
        assert r.told == []


async def test_a_pipe_that_others_need_is_given_up_with_nothing_lost() -> None:
    """SE-10: what it holds goes on from memory, behind the rest of the header."""
    clock = Clock()
    with PipePool(most=1, clock=clock.time) as pipes:
        r = Rig(pipes)
        with closing((r.sock, r.peer), (r.source, r.feed)):
            data, header = noise(500_000), noise(3_000_000)
            pipe = await r.pipe(data)
            r.writer.send_pipe(pipe, len(data), header)
            assert r.writer.is_blocked
            clock.pass_by(STALLED)
            other = pipes.borrow()
            assert other is not None
            pipes.give_back(other)
            assert pipes.lent == 0
            r.writer.send(b"the end")
            whole = header + data + b"the end"
            assert await read(r.peer, len(whole)) == whole
            await turn_until(lambda: r.told == ["drained"])
            r.writer.stop()
