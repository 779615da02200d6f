"""The receiving half of a socket: bytes, pipes, ends."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import closing

import pytest

from pt_bridge.net.sockets import reset
from pt_bridge.relay.pipes import MANY_MESSAGES, PIPE_SIZE, Pipe, PipePool
from pt_bridge.relay.reader import Reader
from pt_bridge.relay.splice import READ_SIZE
from tests.support.clock import Clock
from tests.support.tcp import noise, pair, turn_until


class Taken:
    """What a reader gave."""

    def __init__(self, sock: socket.socket, pipes: PipePool, most: int = 0) -> None:
        self.reader = Reader(asyncio.get_running_loop(), sock, pipes, self)
        self.most = most
        self.data = bytearray()
        self.piped = 0
        self.ends: list[bool] = []
        self._pipes = pipes

    def most_in_pipe(self) -> int:
        """Return what the test says."""
        return self.most

    def on_bytes(self, data: bytes) -> None:
        """Take bytes."""
        assert len(data) <= READ_SIZE
        self.data += data

    def on_pipe(self, pipe: Pipe, count: int) -> None:
        """Take a pipe's bytes, and give it back."""
        assert count <= self.most
        self.piped += count
        while count:
            data = os.read(pipe.read, count)
            self.data += data
            count -= len(data)
        self._pipes.give_back(pipe)

    def on_end(self, *, is_reset: bool) -> None:
        """Take the end."""
        self.ends.append(is_reset)
        self.reader.stop()


async def all_comes_and_then_the_end(most: int) -> None:
    """Send 2 MB and an end."""
    ours, theirs = pair()
    data = noise(2_000_000)
    with closing(ours), closing(theirs), PipePool() as pipes:
        taken = Taken(ours, pipes, most)
        taken.reader.read(wanted=True)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(theirs, data)
        theirs.shutdown(socket.SHUT_WR)
        await turn_until(lambda: bool(taken.ends))
        assert taken.data == data
        assert taken.ends == [False]
        assert bool(taken.piped) == bool(most)
        assert not taken.reader.is_reading
        assert not pipes.lent


@pytest.mark.parametrize("most", [0, 1 << 20])
def test_all_comes_by_copying_or_by_pipe(most: int) -> None:
    asyncio.run(all_comes_and_then_the_end(most))


@pytest.mark.parametrize("most", [0, 1 << 20])
def test_a_reset_is_no_end(most: int) -> None:
    """The kernel tells of it once, whoever asks first; after that it looks like one."""

    async def run() -> None:
        ours, theirs = pair()
        with closing(ours), PipePool() as pipes:
            taken = Taken(ours, pipes, most)
            taken.reader.read(wanted=True)
            reset(theirs)
            await turn_until(lambda: bool(taken.ends))
            assert taken.ends == [True]
            assert not pipes.lent

    asyncio.run(run())


def test_what_is_not_wanted_stays_where_it_is() -> None:
    async def run() -> None:
        ours, theirs = pair()
        with closing(ours), closing(theirs), PipePool() as pipes:
            taken = Taken(ours, pipes)
            taken.reader.read(wanted=False)
            theirs.send(b"abc")
            for _ in range(10):
                await asyncio.sleep(0)
            assert not taken.data
            taken.reader.read(wanted=True)
            taken.reader.read(wanted=True)
            await turn_until(lambda: taken.data == b"abc")
            taken.reader.stop()
            taken.reader.stop()

    asyncio.run(run())


def test_no_more_is_taken_in_a_pipe_than_the_owner_says() -> None:
    async def run() -> None:
        ours, theirs = pair()
        with closing(ours), closing(theirs), PipePool() as pipes:
            taken = Taken(ours, pipes, READ_SIZE)
            data = noise(3 * READ_SIZE + 5)
            await asyncio.get_running_loop().sock_sendall(theirs, data)
            taken.reader.read(wanted=True)
            await turn_until(lambda: len(taken.data) == len(data))
            assert taken.data == data
            assert taken.piped == 2 * READ_SIZE + 5  # a read that is full calls for it
            taken.reader.stop()

    asyncio.run(run())


class Framed(Taken):
    """A reader's owner that takes a header, and what is behind it in a pipe."""

    header = b""
    goes_on = True

    def on_bytes(self, data: bytes) -> None:
        """Take the header, and all that is copied otherwise."""
        if self.header:
            super().on_bytes(data)
            return
        self.header = data
        self.most = 1 << 20
        self.reader.expects_bulk = True
        self.reader.read(wanted=self.goes_on)


@pytest.mark.parametrize("goes_on", [True, False])
def test_what_is_behind_a_header_is_not_copied(*, goes_on: bool) -> None:
    """It is read at once, unless nothing more is wanted."""

    async def run() -> None:
        ours, theirs = pair()
        data = noise(5000)
        with closing(ours), closing(theirs), PipePool() as pipes:
            theirs.send(b"head" + data)
            taken = Framed(ours, pipes)
            taken.goes_on = goes_on
            taken.reader.expect_header(4)
            taken.reader.read(wanted=True)
            await turn_until(lambda: taken.header)
            assert taken.header == b"head"
            assert taken.piped == (5000 if goes_on else 0)
            taken.reader.read(wanted=True)
            await turn_until(lambda: taken.piped == 5000)
            assert taken.data == data
            taken.most = 0
            theirs.send(data)
            await turn_until(lambda: taken.data == data + data)
            taken.reader.stop()

    asyncio.run(run())


def test_many_short_reads_are_messages_and_the_rest_of_bulk_is_none() -> None:
    """So that bulk gives way to who waits for it, and not to itself."""

    async def run() -> None:
        ours, theirs = pair()
        clock = Clock()
        with closing(ours), closing(theirs), PipePool(clock=clock.time) as pipes:
            taken = Taken(ours, pipes, 1 << 20)
            taken.reader.read(wanted=True)

            async def carry(data: bytes) -> None:
                size = len(taken.data) + len(data)
                theirs.send(data)
                await turn_until(lambda: len(taken.data) == size)

            for _ in range(MANY_MESSAGES):
                await carry(noise(2 * READ_SIZE))
                for _ in range(MANY_MESSAGES - 2):
                    await carry(b"message")
            assert pipes.fill == PIPE_SIZE
            for _ in range(MANY_MESSAGES):
                await carry(b"message")
            assert pipes.fill < PIPE_SIZE
            taken.reader.stop()

    asyncio.run(run())


def test_a_frames_header_is_no_message() -> None:
    """There is one before each piece of bulk."""

    async def run() -> None:
        ours, theirs = pair()
        with closing(ours), closing(theirs), PipePool(clock=Clock().time) as pipes:
            taken = Taken(ours, pipes)
            taken.reader.read(wanted=True)
            for number in range(2 * MANY_MESSAGES):
                taken.reader.expect_header(4)
                theirs.send(b"head")
                while len(taken.data) < 4 * (number + 1):  # noqa: ASYNC110
                    await asyncio.sleep(0)
            assert pipes.fill == PIPE_SIZE
            taken.reader.stop()

    asyncio.run(run())


def test_without_a_pipe_bulk_is_copied() -> None:
    async def run() -> None:
        ours, theirs = pair()
        with closing(ours), closing(theirs), PipePool(most=0) as pipes:
            taken = Taken(ours, pipes, 1 << 20)
            taken.reader.read(wanted=True)
            theirs.send(b"abc")
            await turn_until(lambda: taken.data == b"abc")
            assert not taken.piped
            taken.reader.stop()

    asyncio.run(run())
