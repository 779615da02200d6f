"""The HTTP server of the page of numbers, in our own event loop.

Who reads the page may be slow, many or hostile, and must hold nothing up: a request has
a limit, its connection a deadline, and there are few of them at once.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import h11

from pt_bridge.system.log import logger

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    # Called with HTTP's Accept; returns the content type, and the page.
    Write = Callable[[str], tuple[str, bytes]]

PATH = b"/metrics"
MAX_REQUEST = 8192  # bytes
# From the connection to the last byte of the answer (seconds).
LIMIT = 10.0
MAX_CONNECTIONS = 64
TEXT = "text/plain; charset=utf-8"
HTTP_ERRORS = {
    400: "that is no HTTP request",
    404: "there is one page here: /metrics",
    405: "the page can be read, and nothing else",
    500: "a bug in pt-bridge: its log says more",
}


class ScrapeServer:
    """Serves the page for as long as its block lasts."""

    def __init__(
        self, sock: socket.socket, write: Write, *, limit: float = LIMIT
    ) -> None:
        """Create one; entering its block starts it.

        Args:
            sock: listens already; the server owns it.
            write: writes the page.
            limit: how long a connection may take, in seconds.
        """
        self._sock = sock
        self.write = write
        self.limit = limit
        self.open: dict[_Connection, None] = {}
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> ScrapeServer:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Connection(self, loop), sock=self._sock
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the port, and every connection."""
        assert self._server is not None  # the block was entered
        self._server.close()
        for each in list(self.open):
            each.abort()
        await self._server.wait_closed()


class _Connection(asyncio.Protocol):
    """One connection, for one request."""

    _transport: asyncio.Transport

    def __init__(self, server: ScrapeServer, loop: asyncio.AbstractEventLoop) -> None:
        self._server = server
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_REQUEST)
        self._deadline = loop.call_later(server.limit, self.abort)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; where there are too many, end the one who has waited longest.

        Who means it has asked at once, and has its answer.
        """
        assert isinstance(transport, asyncio.Transport)  # of a stream
        self._transport = transport
        if len(self._server.open) >= MAX_CONNECTIONS:
            next(iter(self._server.open)).abort()
        self._server.open[self] = None

    def connection_lost(self, error: Exception | None) -> None:
        """Forget it."""
        self._deadline.cancel()
        self._server.open.pop(self, None)

    def abort(self) -> None:
        """End it at once."""
        self._deadline.cancel()
        self._server.open.pop(self, None)
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Answer the request, once it is whole."""
        if self._http.our_state is not h11.IDLE:
            return  # it has its answer
        try:
            self._http.receive_data(data)
            event = self._http.next_event()
        except h11.RemoteProtocolError:
            self._answer(400)
            return
        if isinstance(event, h11.Request):
            self._serve(event)

    def eof_received(self) -> bool:
        """Return whether there is an answer that must be sent before the end."""
        return self._http.our_state is not h11.IDLE  # what was asked for is still sent

    def _serve(self, request: h11.Request) -> None:
        if request.target.partition(b"?")[0] != PATH:
            self._answer(404)
            return
        if request.method not in (b"GET", b"HEAD"):
            self._answer(405, allow=True)
            return
        accept = b",".join(
            value for name, value in request.headers if name == b"accept"
        )
        try:
            content_type, page = self._server.write(accept.decode("latin-1"))
        except Exception:
            logger.exception("a bug ended a reader of the numbers")
            self._answer(500)
            return
        self._send(200, content_type, page, is_head=request.method == b"HEAD")

    def _answer(self, status: int, *, allow: bool = False) -> None:
        more = [("Allow", "GET, HEAD")] if allow else []
        self._send(status, TEXT, f"{HTTP_ERRORS[status]}\n".encode(), more)

    def _send(
        self,
        status: int,
        content_type: str,
        body: bytes,
        more: list[tuple[str, str]] | None = None,
        *,
        is_head: bool = False,
    ) -> None:
        headers = [
            ("Content-Type", content_type),
            ("Content-Length", str(len(body))),
            ("Connection", "close"),
            *(more or []),
        ]
        http = self._http
        events = [
            h11.Response(status_code=status, headers=headers),
            h11.Data(data=b"" if is_head else body),
            h11.EndOfMessage(),
        ]
        self._transport.write(b"".join(filter(None, map(http.send, events))))
        self._transport.close()  # once it is sent; the deadline goes on
