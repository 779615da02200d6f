#!/usr/bin/env python3
"""A server PT for meek_lite's client: bytes in the bodies of HTTP requests.

Of meek's own server no package is at hand. What its client takes is little: each POST
carries, under an X-Session-Id, what goes to the ORPort, and its answer what has come
from there. The client asks again at once where something came, and else ever more
rarely. No end is passed on, in either direction: a session is over when nobody has
asked for it for a while, and the ORPort's end shows as an error.

In one thing it is kinder than meek's own, which makes a session anew of whatever comes
under the number of one that is over: here that is an error, too.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import select
import socket
import struct
import sys
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MOST = 64 * 1024  # bytes in one answer, as in meek's own
TURN = 0.01  # how long an answer waits for its first byte (seconds)
# How long the ORPort may take what it is sent (seconds).
LIMIT = 60.0
# Of ext-orport-spec: the cookie file's header, and the bytes of each other part.
COOKIE_HEADER = b"! Extended ORPort Auth Cookie !\n"
SIZE = 32
# How long a session lives that nobody asks for, and how often that is looked at
# (seconds).
LASTS = 120.0
LOOK = 5.0


class Session:
    """A connection to the Extended ORPort, and the lock of whoever speaks for it."""

    def __init__(self, client: tuple[str, int]) -> None:
        """Connect for a client with this address."""
        self.lock = threading.Lock()
        self.asked_at = time.monotonic()
        orport = split(os.environ["TOR_PT_EXTENDED_SERVER_PORT"])
        self._sock = socket.create_connection(orport, LIMIT)
        try:
            introduce(self._sock, client)
        except BaseException:
            self._sock.close()
            raise

    def exchange(self, body: bytes) -> bytes:
        """Send what came, and return what is there soon."""
        self.asked_at = time.monotonic()
        self._sock.sendall(body)
        if not select.select([self._sock], [], [], TURN)[0]:
            return b""
        data = self._sock.recv(MOST)
        if not data:
            raise ConnectionResetError
        return data

    def close(self) -> None:
        """Close the connection."""
        self._sock.close()


class Sessions(ThreadingHTTPServer):
    """All of them, by the number that each client has chosen."""

    daemon_threads = True
    request_queue_size = 512

    def __init__(self, address: tuple[str, int]) -> None:
        """Listen."""
        super().__init__(address, Exchange)
        self._sessions: dict[str, Session] = {}
        self._over: set[str] = set()
        self._lock = threading.Lock()
        self._looked_at = time.monotonic()

    def get(self, name: str, client: tuple[str, int]) -> Session:
        """Return a session; make one where there was none yet."""
        with self._lock:
            if name in self._over:
                raise ConnectionResetError
            session = self._sessions.get(name)
            if session is None:
                session = self._sessions[name] = Session(client)
            return session

    def end(self, name: str) -> None:
        """End a session, and close its connection."""
        with self._lock:
            self._over.add(name)
            session = self._sessions.pop(name, None)
        if session is not None:
            session.close()

    def service_actions(self) -> None:
        """End the sessions that nobody asks for."""
        now = time.monotonic()
        if now - self._looked_at < LOOK:
            return
        self._looked_at = now
        for name, session in list(self._sessions.items()):
            if now - session.asked_at > LASTS:
                self.end(name)

    def handle_error(self, *_: object) -> None:
        """Be silent: clients hang up."""


class Exchange(BaseHTTPRequestHandler):
    """One connection of a client."""

    server: Sessions
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body in one segment

    def do_POST(self) -> None:
        """Carry one body each way."""
        name = self.headers["X-Session-Id"]
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        answer, status = b"", HTTPStatus.OK
        try:
            session = self.server.get(name, self.client_address)
            with session.lock:
                answer = session.exchange(body)
        except OSError:
            self.server.end(name)
            status = HTTPStatus.INTERNAL_SERVER_ERROR
        self.send_response(status)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Be silent."""


def introduce(sock: socket.socket, client: tuple[str, int]) -> None:
    """Prove to the Extended ORPort that we are its PT, and say who calls."""
    with open(os.environ["TOR_PT_AUTH_COOKIE_FILE"], "rb") as file:
        header, cookie = file.read(SIZE), file.read()
    assert (header, len(cookie)) == (COOKIE_HEADER, SIZE)
    assert exactly(sock, 2) == b"\1\0"  # SAFE_COOKIE, and no other
    ours = os.urandom(SIZE)
    sock.sendall(b"\1" + ours)
    proof, theirs = exactly(sock, SIZE), exactly(sock, SIZE)
    told = b"ExtORPort authentication %s hash" + ours + theirs
    assert proof == hmac.digest(
        cookie, told.replace(b"%s", b"server-to-client"), "sha256"
    )
    sock.sendall(
        hmac.digest(cookie, told.replace(b"%s", b"client-to-server"), "sha256")
    )
    assert exactly(sock, 1) == b"\1"
    address = f"{client[0]}:{client[1]}".encode()
    for command, body in ((1, address), (2, b"meek"), (0, b"")):
        sock.sendall(struct.pack(">HH", command, len(body)) + body)
    if exactly(sock, 4) != b"\x10\0\0\0":
        raise ConnectionRefusedError


def _proof(cookie: bytes, direction: bytes, nonces: bytes) -> bytes:
    told = b"ExtORPort authentication " + direction + b" hash" + nonces
    return hmac.digest(cookie, told, "sha256")


def exactly(sock: socket.socket, size: int) -> bytes:
    """Read so many bytes."""
    data = b""
    while len(data) < size:
        more = sock.recv(size - len(data))
        if not more:
            raise ConnectionResetError
        data += more
    return data


def split(place: str) -> tuple[str, int]:
    """Return the host and the port of an address."""
    host, _, port = place.rpartition(":")
    return host, int(port)


def main() -> None:
    """Act as a managed PT (pt-spec) until the end of stdin."""
    method, _, place = os.environ["TOR_PT_SERVER_BINDADDR"].partition("-")
    server = Sessions(split(place))
    host, port = split(place)
    for line in (
        "VERSION 1",
        f"SMETHOD {method} {host}:{port} ARGS:url=http://{host}:{port}/",
        "SMETHODS DONE",
    ):
        print(line, flush=True)  # noqa: T201 - what a PT has to say
    threading.Thread(target=server.serve_forever, args=(LOOK,), daemon=True).start()
    with contextlib.suppress(KeyboardInterrupt):
        sys.stdin.buffer.read()


if __name__ == "__main__":
    if sys.argv[1:] == ["-version"]:
        sys.exit(0)
    main()
