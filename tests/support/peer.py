"""The other end of a session, which a test plays frame by frame in its own loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pt_bridge.protocol.session import Session

if TYPE_CHECKING:
    import socket

    from pt_bridge.protocol.frames import Event

READ_SIZE = 64 * 1024


class Peer:
    """A machine on a socket: it says nothing by itself.

    Attributes:
        session: makes what is to be said.
        heard: every event so far.
    """

    def __init__(self, sock: socket.socket, *, is_client: bool) -> None:
        self.sock = sock
        self.session = Session(is_client=is_client)
        self.heard: list[Event] = []

    async def say(self, frames: bytes) -> None:
        """Send frames, or anything else."""
        await asyncio.get_running_loop().sock_sendall(self.sock, frames)

    async def hear(self, kind: type, number: int = 1) -> Event:
        """Read until there were so many events of a kind; return the last one.

        Raises:
            EOFError: the connection has ended.
        """
        loop = asyncio.get_running_loop()
        while len(self.all(kind)) < number:
            data = await loop.sock_recv(self.sock, READ_SIZE)
            if not data:
                raise EOFError
            self.heard += self.session.receive(data)
        return self.all(kind)[-1]

    def hear_now(self) -> None:
        """Take what has come, if anything has."""
        try:
            data = self.sock.recv(READ_SIZE)
        except BlockingIOError:
            return
        if not data:
            raise EOFError
        self.heard += self.session.receive(data)

    def all(self, kind: type) -> list[Event]:
        """Return the events of a kind."""
        return [each for each in self.heard if type(each) is kind]
