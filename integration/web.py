"""A web server behind the tunnels, for real HTTP clients."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from integration.endpoints import payload
from integration.programs import DEADLINE

if TYPE_CHECKING:
    import socket

    from integration.endpoints import Address


class Web(ThreadingHTTPServer):
    """Gives for ``/n`` a payload of n bytes.

    It announces the length where the connection is to be kept alive, and else ends the
    body by closing, as HTTP/1.0 does.
    """

    request_queue_size = 512
    daemon_threads = True

    def __init__(self) -> None:
        """Listen on a port of 127.0.0.1."""
        super().__init__(("127.0.0.1", 0), _Page)
        self.address: Address = ("127.0.0.1", self.server_address[1])
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,))
        self._thread.start()

    def handle_error(
        self,
        request: socket.socket | tuple[bytes, socket.socket],
        client_address: object,
    ) -> None:
        """Be silent: clients hang up amid a body."""

    def close(self) -> None:
        """Stop listening, and wait for the connections to end."""
        self.shutdown()
        self._thread.join()
        self.server_close()


class _Page(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 4 * DEADLINE

    def do_GET(self) -> None:
        size = int(self.path.lstrip("/"))
        self.send_response(200)
        if self.close_connection:
            self.send_header("Connection", "close")
        else:
            self.send_header("Content-Length", str(size))
        self.end_headers()
        for chunk in payload(size):
            self.wfile.write(chunk)

    def log_message(self, format: str, *args: object) -> None:
        """Be silent."""
