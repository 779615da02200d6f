"""A tor's Extended ORPort, with our own other half, in a loop or in a thread."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING

from pt_bridge.listen.loopback_server import LoopbackServer
from pt_bridge.protocol import ext_orport

if TYPE_CHECKING:
    import socket
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from pt_bridge.protocol.address import Address
    from pt_bridge.protocol.handshake import Ask

COOKIE = bytes(range(32))
GREETING = b"hello"


class FakeTor:
    """A tor's Extended ORPort, which greets whom it has taken, and closes.

    Attributes:
        cookie: what it knows.
        announced: who was announced.
        path: the file with the cookie.
    """

    def __init__(self, folder: Path, answer: bytes = ext_orport.OKAY) -> None:
        self.cookie = COOKIE
        self.announced: list[ext_orport.Request] = []
        self.path = folder / "extended_orport_auth_cookie"
        self.write_cookie(COOKIE)
        self._answer = answer
        self._address: Address | None = None

    @property
    def address(self) -> Address:
        """Where it listens, or did."""
        assert self._address is not None
        return self._address

    def _accept(self) -> Generator[Ask, bytes, ext_orport.Request]:
        return ext_orport.accept(cookie=self.cookie, nonce=bytes(32))

    def _on_accepted(self, sock: socket.socket, request: ext_orport.Request) -> None:
        self.announced.append(request)
        sock.send(self._answer + GREETING)
        sock.close()

    def write_cookie(self, cookie: bytes) -> None:
        """Write the file."""
        self.path.write_bytes(ext_orport.cookie_file(cookie))

    @contextlib.contextmanager
    def running(self) -> Iterator[FakeTor]:
        """Serve in the running loop."""
        loop = asyncio.get_running_loop()
        with LoopbackServer(loop, self._accept, self._on_accepted) as server:
            self._address = server.address
            yield self

    @contextlib.contextmanager
    def in_thread(self) -> Iterator[FakeTor]:
        """Serve in a thread of its own."""
        loop = asyncio.new_event_loop()
        end = asyncio.Event()
        is_there = threading.Event()

        async def serve() -> None:
            with self.running():
                is_there.set()
                await end.wait()

        thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
        thread.start()
        is_there.wait()
        try:
            yield self
        finally:
            loop.call_soon_threadsafe(end.set)
            thread.join()
            loop.close()
