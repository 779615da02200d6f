"""A web server behind the tunnels, for real HTTP clients."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

from integration.support.endpoints import payload
from integration.support.in_thread import InThread
from integration.support.programs import DEADLINE

if TYPE_CHECKING:
    import socket


class Web(InThread, HTTPServer):
    """Gives for ``/n`` a payload of n bytes.

    It announces the length where the connection is to be kept alive, and else ends the
    body by closing, as HTTP/1.0 does.
    """

    def __init__(self) -> None:
        """Listen on a port of 127.0.0.1."""
        super().__init__(_Page)
        self.start()

    def handle_error(
        self,
        request: socket.socket | tuple[bytes, socket.socket],
        client_address: object,
    ) -> None:
        """Be silent: clients hang up amid a body."""


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
