"""The far end of what is measured: it takes, gives or echoes bytes, and little else.

Run with TOR_PT_* in its environment it is a PT client whose SOCKS5 listener is the far
end itself: what a relay passes on ends here, so no PT's own relaying dominates. Run
without, it is a plain TCP server, for those that speak no SOCKS5. A connection's header
is one letter and a number:

====== ===============================================================================
TAKE n throws n bytes away as they come, and then answers with one
GIVE n sends n bytes
PING   sends back what comes, from a process of its own
ECHO n the same from the one process that serves all; closes after n bytes (0: never)
====== ===============================================================================

It imports nothing of `bench`: a copy of it is run as a program, isolated.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
import sys

HEADER = struct.Struct(">cQ")
TAKE, GIVE, PING, ECHO = b"T", b"G", b"P", b"E"
BACKLOG = 4096
CHUNK = 1 << 20  # bytes moved at once in bulk
SMALL = 64 * 1024  # and in an echo
# How long a process that serves one connection may live at all (seconds).
CONNECTION_LIMIT = 300
SOCKS5_NO_AUTHENTICATION = b"\x05\x00"
SOCKS5_SUCCEEDED = b"\x05\x00\x00\x01" + bytes(6)
SOCKS5_ADDRESS_LENGTHS = {1: 4, 4: 16}  # by the address's type; 3 is a name
STDIN = 0


class Connection:
    """A connection: what it is to say next, and what it has said of it."""

    __slots__ = ("data", "left", "sock", "step")

    def __init__(self, sock: socket.socket, step: str) -> None:
        self.sock = sock
        self.step = step
        self.data = b""
        self.left = 0


class Server:
    """Serves all connections, and starts a process for each that moves much."""

    def __init__(self, *, is_pt: bool) -> None:
        self._first_step = "greeting" if is_pt else "header"
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
        self._poll = select.epoll()
        self._poll.register(self._listener, select.EPOLLIN)
        self._connections: dict[int, Connection] = {}
        self.port: int = self._listener.getsockname()[1]
        if is_pt:
            self._poll.register(STDIN, select.EPOLLIN)

    def serve(self) -> None:
        """Serve until stdin ends, or for ever."""
        listener = self._listener.fileno()
        while True:
            for descriptor, _ in self._poll.poll():
                if descriptor == listener:
                    self._accept()
                elif descriptor == STDIN:
                    if not os.read(STDIN, SMALL):
                        return
                else:
                    self._receive(self._connections[descriptor])

    def _accept(self) -> None:
        sock, _ = self._listener.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connections[sock.fileno()] = Connection(sock, self._first_step)
        self._poll.register(sock, select.EPOLLIN)

    def _receive(self, connection: Connection) -> None:
        try:
            data = connection.sock.recv(SMALL)
            if not data:
                self._let_go(connection)
                connection.sock.close()
            elif connection.step == "echo":
                self._echo(connection, data)
            else:
                connection.data += data
                self._converse(connection)
        except OSError:
            self._let_go(connection)
            connection.sock.close()

    def _let_go(self, connection: Connection) -> None:
        if self._connections.pop(connection.sock.fileno(), None):
            self._poll.unregister(connection.sock)

    def _converse(self, connection: Connection) -> None:
        """Take the steps for which enough has come."""
        data = connection.data
        if connection.step == "greeting":
            if len(data) < 2 or len(data) < 2 + data[1]:
                return
            connection.data = data = data[2 + data[1] :]
            connection.sock.sendall(SOCKS5_NO_AUTHENTICATION)
            connection.step = "request"
        if connection.step == "request":
            if len(data) < 5:
                return
            length = 6 + SOCKS5_ADDRESS_LENGTHS.get(data[3], 1 + data[4])
            if len(data) < length:
                return
            connection.data = data = data[length:]
            connection.sock.sendall(SOCKS5_SUCCEEDED)
            connection.step = "header"
        if len(data) < HEADER.size:
            return
        kind, number = HEADER.unpack_from(data)
        rest = data[HEADER.size :]
        if kind == ECHO:
            connection.step, connection.left = "echo", number
            if rest:
                self._echo(connection, rest)
        else:
            self._serve_alone(connection, kind, number, rest)

    def _echo(self, connection: Connection, data: bytes) -> None:
        connection.sock.sendall(data)
        if connection.left:
            connection.left -= len(data)
            if connection.left <= 0:
                self._let_go(connection)
                connection.sock.close()

    def _serve_alone(
        self, connection: Connection, kind: bytes, number: int, rest: bytes
    ) -> None:
        """Hand a connection over to a process of its own."""
        # Before the fork, and by name: the other copy would keep it in the set.
        self._let_go(connection)
        if os.fork():
            connection.sock.close()
            return
        signal.alarm(CONNECTION_LIMIT)
        try:
            self._listener.close()
            self._poll.close()
            for other in self._connections.values():
                other.sock.close()
            if kind == TAKE:
                take(connection.sock, number - len(rest))
            elif kind == GIVE:
                give(connection.sock, number)
            else:
                ping(connection.sock, rest)
        except OSError:  # the relay, or the client, had enough
            pass
        finally:
            os._exit(0)


def take(sock: socket.socket, number: int) -> None:
    """Throw bytes away, unseen and not even copied, and then say so."""
    place = bytearray(CHUNK)
    while number > 0:
        taken = sock.recv_into(place, min(number, CHUNK), socket.MSG_TRUNC)
        if not taken:
            return
        number -= taken
    sock.sendall(b"!")
    sock.recv(1)  # the other side closes first, when it has looked at the clocks


def give(sock: socket.socket, number: int) -> None:
    """Send bytes."""
    data = memoryview(bytes(CHUNK))
    while number > 0:
        number -= sock.send(data[: min(number, CHUNK)])
    sock.recv(1)


def ping(sock: socket.socket, data: bytes) -> None:
    """Send back what comes."""
    sock.sendall(data)
    while data := sock.recv(SMALL):
        sock.sendall(data)


def main() -> None:
    """Listen, say where, and serve."""
    # Nobody waits for the processes that serve one connection.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    transport = os.environ.get("TOR_PT_CLIENT_TRANSPORTS")
    server = Server(is_pt=transport is not None)
    place = f"127.0.0.1:{server.port}"
    if transport is None:
        sys.stdout.write(f"LISTENING {place}\n")
    else:
        sys.stdout.write(f"VERSION 1\nCMETHOD {transport} socks5 {place}\n")
        sys.stdout.write("CMETHODS DONE\n")
    sys.stdout.flush()
    server.serve()


if __name__ == "__main__":
    main()
