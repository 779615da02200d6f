"""A broker for snowflake's clients, as far as their offer: it has no proxies to give.

A client POSTs to ``/client`` a line with the version of the message and a JSON object
behind it, in which ``offer`` is the offer of WebRTC, JSON once more, with an SDP.
"""

from __future__ import annotations

import json
import queue
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from integration.support.in_thread import InThread

MOST = 64 * 1024  # bytes of a request
NO_PROXIES = {"error": "no snowflake proxies currently available"}


class SnowflakeBroker(InThread, HTTPServer):
    """A broker on a port of 127.0.0.1.

    Attributes:
        port: where it listens.
        offers: what each client has sent: the request's path, the version of the
            message, and the offer.
    """

    def __init__(self) -> None:
        """Listen."""
        super().__init__(_Rendezvous)
        self.offers: queue.SimpleQueue[tuple[str, str, dict[str, Any]]] = (
            queue.SimpleQueue()
        )
        self.start()


class _Rendezvous(BaseHTTPRequestHandler):
    server: SnowflakeBroker

    def do_POST(self) -> None:
        """Take an offer, and answer that nobody is there."""
        size = min(int(self.headers.get("Content-Length", 0)), MOST)
        version, _, message = self.rfile.read(size).decode().partition("\n")
        offer = json.loads(json.loads(message)["offer"])
        self.server.offers.put((self.path, version, offer))
        answer = json.dumps(NO_PROXIES).encode()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Be silent."""
