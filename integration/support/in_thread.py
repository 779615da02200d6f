"""A server that accepts in a thread of its own, until it is closed."""

from __future__ import annotations

import socket
import socketserver
import threading

from integration.support.programs import RETRY


class InThread(socketserver.ThreadingTCPServer):
    """One on a free port; a subclass says what becomes of connections.

    Attributes:
        port: where it listens.
    """

    daemon_threads = True
    request_queue_size = 512

    def __init__(
        self,
        handler: type[socketserver.BaseRequestHandler],
        host: str = "127.0.0.1",
    ) -> None:
        """Listen; nobody is served before `start`.

        Args:
            handler: what serves a connection, in a thread of that one's own.
            host: where to listen, an IP address.
        """
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, 0), handler)
        self.port: int = self.server_address[1]
        self._thread = threading.Thread(target=self.serve_forever, args=(RETRY,))

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens, on 127.0.0.1."""
        return "127.0.0.1", self.port

    def start(self) -> None:
        """Serve from now on."""
        self._thread.start()

    def close(self) -> None:
        """Stop listening, and wait for the thread that accepts."""
        self.shutdown()
        self._thread.join()
        self.server_close()
