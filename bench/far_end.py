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

A connection that begins with the preface speaks pt-bridge's session, and this is the
server's side of it: each stream begins with such a header. It says no more than this
takes (no BEAT, no RESET of its own accord), and its client is taken for an honest one.

It imports nothing of `bench`: a copy of it is run as a program, isolated.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

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
LOOPBACK = "127.0.0.1"
TCP = socket.IPPROTO_TCP
UNPACED = b"reno"  # the congestion control of loopback

PREFACE = bytes.fromhex("e3b19f06c7d45a8812fe6b90a34d7101")
OPEN, ACCEPT, DATA, EOF, RESET, BEAT, BYE = range(1, 8)
FRAME = struct.Struct(">I")  # a frame's type in one byte, its length in the rest
LENGTH = 0xFFFFFF
ONE_BYTE = b"\x03\x00\x00\x01!"  # a DATA frame
CUT = b"\0"


class Connection:
    """A connection: what it is to say next, and what it has said of it."""

    __slots__ = ("data", "left", "session", "sock", "step")

    def __init__(self, sock: socket.socket, step: str) -> None:
        self.sock = sock
        self.step = step
        self.data = b""
        self.left = 0
        self.session: Session | None = None


class Session:
    """What was said and heard on a connection that speaks the session; no I/O.

    Attributes:
        kind: what the stream's header asks for; empty where none has come.
        left: how many bytes are still to be taken, given or echoed (0: no limit).
        data: what has come and was not dealt with.
        is_stopped: whether `hear` came to a header that asks for a process of its own.
        is_left: whether BYE was said.
    """

    __slots__ = (
        "_eof_said",
        "_is_open",
        "_number",
        "data",
        "is_left",
        "is_stopped",
        "kind",
        "left",
    )

    def __init__(self) -> None:
        self._is_open = self._eof_said = self.is_stopped = self.is_left = False
        self._number = self.kind = self.data = b""
        self.left = 0

    def hear(self, data: bytes) -> bytes:
        """Return what is to be said to what has come, as far as it is for `hear`."""
        self.is_stopped = False
        # The usual: one whole message, which goes back as it came, header and all.
        if (
            self.kind in (PING, ECHO)
            and not (self.left or self.data or self._eof_said)
            and len(data) > FRAME.size
            and FRAME.unpack_from(data)[0] == DATA << 24 | len(data) - FRAME.size
        ):
            return data
        self.data += data
        reply = b""
        while len(self.data) >= FRAME.size and not (self.is_stopped or self.is_left):
            head = FRAME.unpack_from(self.data)[0]
            kind, end = head >> 24, FRAME.size + (head & LENGTH)
            if kind == DATA and not self.kind:
                if len(self.data) < FRAME.size + HEADER.size:
                    break
                self._begin(head)
                continue
            if len(self.data) < end:
                break
            payload, self.data = self.data[FRAME.size : end], self.data[end:]
            reply += self._data(payload) if kind == DATA else self._say(kind, payload)
        return reply

    def _begin(self, head: int) -> None:
        """Take the header of a stream out of its first DATA frame."""
        self.kind, self.left = HEADER.unpack_from(self.data, FRAME.size)
        rest = self.data[FRAME.size + HEADER.size :]
        left = (head & LENGTH) - HEADER.size
        self.data = (FRAME.pack(DATA << 24 | left) if left else b"") + rest
        self.is_stopped = self.kind != ECHO

    def _data(self, payload: bytes) -> bytes:
        if self.kind not in (PING, ECHO) or self._eof_said:
            return b""
        reply = frame(DATA, payload)
        if self.left:
            self.left = max(self.left - len(payload), 0)
            if not self.left:
                self._eof_said = True
                reply += frame(EOF, self._number)
        return reply

    def _say(self, kind: int, payload: bytes) -> bytes:
        """Return the answer to any frame but DATA."""
        if kind == OPEN:
            self._number = payload[:2]
            self._is_open, self._eof_said = True, False
            return frame(ACCEPT, self._number)
        if kind in (EOF, RESET) and self._is_open:
            self._is_open, self.kind, self.left = False, b"", 0
            if kind == RESET:
                return frame(RESET, self._number + CUT)
            return b"" if self._eof_said else frame(EOF, self._number)
        if kind == BYE:
            self.is_left = True
            return frame(BYE)
        return b""


def frame(kind: int, payload: bytes = b"") -> bytes:
    """Return a whole frame."""
    return FRAME.pack(kind << 24 | len(payload)) + payload


class Server:
    """Serves all connections, and starts a process for each that moves much."""

    def __init__(self, host: str, *, is_pt: bool) -> None:
        self._first_step = "greeting" if is_pt else "header"
        self._listener = socket.create_server((host, 0), backlog=BACKLOG)
        if host == LOOPBACK:  # what it accepts has it, too: BBR would pace what is sent
            self._listener.setsockopt(TCP, socket.TCP_CONGESTION, UNPACED)
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
        sock.setsockopt(TCP, socket.TCP_NODELAY, 1)
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
            elif connection.session is not None:
                self._hear(connection, connection.session, data)
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
        if data[:1] == PREFACE[:1]:
            if len(data) >= len(PREFACE):
                if not data.startswith(PREFACE):
                    raise ConnectionError("this is another version of the session")
                connection.session = session = Session()
                self._hear(connection, session, data[len(PREFACE) :])
            return
        if len(data) < HEADER.size:
            return
        kind, number = HEADER.unpack_from(data)
        rest = data[HEADER.size :]
        if kind == ECHO:
            connection.step, connection.left = "echo", number
            if rest:
                self._echo(connection, rest)
        elif kind == TAKE:
            self._serve_alone(connection, lambda sock: take(sock, number - len(rest)))
        elif kind == GIVE:
            self._serve_alone(connection, lambda sock: give(sock, number))
        else:
            self._serve_alone(connection, lambda sock: ping(sock, rest))

    def _hear(self, connection: Connection, session: Session, data: bytes) -> None:
        reply = session.hear(data)
        if reply:
            connection.sock.sendall(reply)
        if session.is_left:
            self._let_go(connection)
            connection.sock.close()
        elif session.is_stopped:
            self._serve_alone(connection, lambda sock: serve_session(sock, session))

    def _echo(self, connection: Connection, data: bytes) -> None:
        connection.sock.sendall(data)
        if connection.left:
            connection.left -= len(data)
            if connection.left <= 0:
                self._let_go(connection)
                connection.sock.close()

    def _serve_alone(
        self, connection: Connection, serve: Callable[[socket.socket], None]
    ) -> None:
        """Serve a connection in a process of its own."""
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
            serve(connection.sock)
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


def serve_session(sock: socket.socket, session: Session) -> None:
    """Serve a connection that speaks the session, one stream after the other."""
    while not session.is_left:
        data = b""
        if session.kind == TAKE and session.left:
            take_frames(sock, session)
        elif session.kind == GIVE and session.left:
            give_frames(sock, session)
        elif not session.is_stopped:
            data = sock.recv(SMALL)
            if not data:
                return
        reply = session.hear(data)
        if reply:
            sock.sendall(reply)


def take_frames(sock: socket.socket, session: Session) -> None:
    """Throw DATA away, unseen, and then say so; keep any other frame."""
    place = bytearray(CHUNK)
    while session.left > 0:
        head = FRAME.unpack(receive(sock, session, FRAME.size))[0]
        length = head & LENGTH
        if head >> 24 != DATA:
            payload = receive(sock, session, length)
            session.data = FRAME.pack(head) + payload + session.data
            return
        session.left = max(session.left - length, 0)
        length -= len(session.data[:length])
        session.data = session.data[(head & LENGTH) - length :]
        while length > 0:
            taken = sock.recv_into(place, length, socket.MSG_TRUNC)
            if not taken:
                raise ConnectionError("the connection ended in a frame")
            length -= taken
    sock.sendall(ONE_BYTE)


def receive(sock: socket.socket, session: Session, number: int) -> bytes:
    """Read exactly so many bytes, the first of them where they have come already."""
    data, session.data = session.data[:number], session.data[number:]
    if len(data) < number:
        data += sock.recv(number - len(data), socket.MSG_WAITALL)
        if len(data) < number:
            raise ConnectionError("the connection ended in a frame")
    return data


def give_frames(sock: socket.socket, session: Session) -> None:
    """Send bytes as DATA, each header in one piece with what follows it."""
    data = memoryview(bytes(CHUNK))
    while session.left > 0:
        length = min(session.left, CHUNK)
        sock.send(FRAME.pack(DATA << 24 | length), socket.MSG_MORE)
        sock.sendall(data[:length])
        session.left -= length


def main() -> None:
    """Listen, say where, and serve."""
    # Nobody waits for the processes that serve one connection.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    transport = os.environ.get("TOR_PT_CLIENT_TRANSPORTS")
    host = sys.argv[1] if transport is None and sys.argv[1:] else LOOPBACK
    server = Server(host, is_pt=transport is not None)
    place = f"{host}:{server.port}"
    if transport is None:
        sys.stdout.write(f"LISTENING {place}\n")
    else:
        sys.stdout.write(f"VERSION 1\nCMETHOD {transport} socks5 {place}\n")
        sys.stdout.write("CMETHODS DONE\n")
    sys.stdout.flush()
    server.serve()


if __name__ == "__main__":
    main()
