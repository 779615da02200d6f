"""The receiving half of a socket: messages are copied, bulk goes by way of pipes.

Where the owner says that bulk may come, what there is stays in the kernel
(`pt_bridge.relay.splice`); where no pipe is to be had, it is copied as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from pt_bridge.relay.coalescing import Coalescing
from pt_bridge.relay.pipes import MANY_MESSAGES
from pt_bridge.relay.splice import READ_SIZE, REFUSED, fill_from

if TYPE_CHECKING:
    import asyncio
    import socket

    from pt_bridge.relay.pipes import Pipe, PipePool


class ReaderOwner(Protocol):
    """Who gets what is read, and decides how."""

    def most_in_pipe(self) -> int:
        """Return how many bytes may come in a pipe now; 0 for none."""

    def on_bytes(self, data: bytes) -> None:
        """Take bytes that were read, at most `READ_SIZE`."""

    def on_pipe(self, pipe: Pipe, count: int) -> None:
        """Take a borrowed pipe with that many bytes, and give it back to the pool."""

    def on_end(self, *, is_reset: bool) -> None:
        """Learn that nothing more comes; `Reader.stop` is still to be called."""


class Reader:
    """Reads one socket, which stays its owner's, whenever that is wanted.

    Attributes:
        expects_bulk: whether the owner is asked for how much may come in a pipe. It is
            since a read took `READ_SIZE`, and where the owner has set it.
    """

    __slots__ = (
        "_coalescing",
        "_is_reading",
        "_loop",
        "_messages",
        "_owner",
        "_pipes",
        "_size",
        "_sock",
        "expects_bulk",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        pipes: PipePool,
        owner: ReaderOwner,
    ) -> None:
        """Prepare to read.

        Args:
            loop: the event loop.
            sock: a connected, non-blocking socket.
            pipes: where pipes are borrowed.
            owner: gets what is read.
        """
        self._loop = loop
        self._sock = sock
        self._pipes = pipes
        self._owner: ReaderOwner | None = owner
        self._coalescing: Coalescing | None = None
        self._is_reading = self.expects_bulk = False
        self._messages = 0  # in a row
        self._size = READ_SIZE

    @property
    def is_reading(self) -> bool:
        """Whether what comes is read."""
        return self._is_reading

    def read(self, *, wanted: bool) -> None:
        """Read from now on, or leave what comes where it is."""
        if wanted == self._is_reading:
            return
        self._is_reading = wanted
        if wanted:
            self._loop.add_reader(self._sock.fileno(), self._read)
        else:
            self._loop.remove_reader(self._sock.fileno())

    def expect_header(self, size: int) -> None:
        """Copy no more than so many bytes next time: bulk may come right behind."""
        self._size = size

    def rest(self) -> None:
        """Wake up for every byte again: the bulk is over."""
        if self._coalescing is not None:
            self._coalescing.stop()
            self._coalescing = None

    def stop(self) -> None:
        """Touch the socket no more, and forget the owner; safe to call again.

        Who points at each other would stay until the garbage collector comes.
        """
        self.read(wanted=False)
        self.rest()
        self._owner = None

    def _read(self) -> None:
        owner = self._owner
        assert owner is not None  # or nothing would be read
        if self.expects_bulk:  # else a message need not wait for the answer
            most = owner.most_in_pipe()
            pipe = self._pipes.borrow() if most else None
            if pipe is not None and self._read_into(pipe, most, owner):
                return
        try:
            data = self._sock.recv(self._size)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            owner.on_end(is_reset=True)
            return
        if data:
            self.expects_bulk = len(data) == READ_SIZE
            if len(data) < self._size == READ_SIZE:
                self._messages += 1
                if self._messages >= MANY_MESSAGES:
                    self._pipes.note_messages()
            else:  # bulk, or the header of a frame of it
                self._messages = 0
            owner.on_bytes(data)
            if self._size != READ_SIZE:
                self._size = READ_SIZE
                if self._is_reading:
                    self._read()
        else:
            owner.on_end(is_reset=False)

    def _read_into(self, pipe: Pipe, most: int, owner: ReaderOwner) -> bool:
        """Pass bulk on by way of a pipe; return whether that was done."""
        try:
            count = fill_from(pipe, self._sock, min(most, self._pipes.fill))
        except (BlockingIOError, InterruptedError):
            self._pipes.give_back(pipe)
            return False  # copying goes on behind an urgent byte, and splice does not
        except OSError as error:
            if error.errno in REFUSED:
                self._pipes.refuse(pipe)
                return False
            self._pipes.give_back(pipe)
            # At once: the kernel tells of it once, and then of an end.
            owner.on_end(is_reset=True)
            return True
        if not count:
            self._pipes.give_back(pipe)
            owner.on_end(is_reset=False)
            return True
        self.expects_bulk = count >= READ_SIZE
        self._messages = 0
        owner.on_pipe(pipe, count)
        if self._is_reading and count >= READ_SIZE:
            if self._coalescing is None:
                self._coalescing = Coalescing(self._loop, self._sock)
            self._coalescing.read(count)
        return True
