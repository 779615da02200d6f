"""The other end of a session, which a test plays by hand, with a socket's methods."""

from __future__ import annotations

import select
import socket
from typing import TYPE_CHECKING

from pt_bridge.protocol.frames import (
    PREFACE,
    Accepted,
    Cause,
    Ended,
    Opened,
    Said,
    WasReset,
    data_frame,
)
from pt_bridge.protocol.session import Session

if TYPE_CHECKING:
    from pt_bridge.protocol.frames import Event

READ_SIZE = 64 * 1024
ID = b"an id..."  # of the first stream that a test opens


class SessionEnd:
    """One stream at a time on a connected, blocking socket, which stays its owner's.

    Attributes:
        opened: what the client's OPEN said, for the test that plays a server.
        refusal: why the stream was reset, or None.
    """

    def __init__(self, sock: socket.socket, *, is_client: bool) -> None:
        self._sock = sock
        self._session = Session(is_client=is_client)
        self._is_client = is_client
        self._data = bytearray()
        self._has_ended = self._has_reset = False
        self.opened: Opened | None = None
        self.refusal: WasReset | None = None

    @classmethod
    def as_client(cls, sock: socket.socket, id: bytes = ID) -> SessionEnd:
        """Open a session, and a stream, as a client does."""
        end = cls(sock, is_client=True)
        sock.sendall(PREFACE + end._session.open(id))
        return end

    @classmethod
    def as_server(cls, sock: socket.socket) -> SessionEnd:
        """Read a client's preface, and accept its first stream."""
        end = cls.before_accept(sock)
        end.accept()
        return end

    @classmethod
    def before_accept(cls, sock: socket.socket) -> SessionEnd:
        """Read a client's preface, and its OPEN."""
        end = cls(sock, is_client=False)
        preface = sock.recv(len(PREFACE), socket.MSG_WAITALL)
        assert preface == PREFACE
        end._next_stream()
        return end

    def accept(self) -> None:
        """Take the stream that the client has opened."""
        self._sock.sendall(self._session.accept())

    def refuse(self, cause: Cause, text: bytes = b"") -> None:
        """Reset the stream, and wait until the client has done so, too."""
        self._say_reset(cause, text)
        while self._session.is_open:
            self._hear()

    def next(self, id: bytes = b"next one") -> None:
        """Begin the next stream, when both sides have ended the last."""
        self.opened = None
        while self._session.is_open and self.opened is None:
            self._hear()
        self._has_ended = self._has_reset = False
        self.refusal = None
        if self._is_client:
            self._sock.sendall(self._session.open(id))
        else:
            self._next_stream()
            self.accept()

    def _next_stream(self) -> None:
        while self.opened is None:
            self._hear()

    # What sockets do.

    def sendall(self, data: bytes) -> None:
        """Send bytes in the stream."""
        self._sock.sendall(data_frame(data))

    def recv(self, most: int) -> bytes:
        """Return bytes of the stream, none at its EOF.

        Raises:
            ConnectionResetError: it was reset, or its connection ended before it did.
        """
        while not self._data:
            if self._has_ended:
                return b""
            if self.refusal is not None:
                raise ConnectionResetError(str(self.refusal.cause))
            self._hear()
        data = bytes(self._data[:most])
        del self._data[:most]
        return data

    def shutdown(self, how: int) -> None:
        """Send EOF."""
        assert how == socket.SHUT_WR
        self._sock.sendall(self._session.eof())

    def reset(self) -> None:
        """Send RESET."""
        self._say_reset(Cause.CUT)

    def close(self) -> None:
        """Send EOF, and RESET if the other side goes on: what a close means."""
        if self._session.is_open and not self._session.eof_sent:
            self._sock.sendall(self._session.eof())
        if self._session.is_open:
            self._say_reset(Cause.CUT)

    def _say_reset(self, cause: Cause, text: bytes = b"") -> None:
        self._has_reset = True
        self._sock.sendall(self._session.reset(cause, text))

    def is_reset_by(self, data: bytes) -> bool:
        """Send something; tell whether the stream was reset, though perhaps not yet."""
        if self.refusal is None:
            self.sendall(data)
            if select.select([self._sock], [], [], 0)[0]:
                self._hear()
        return self.refusal is not None

    def _hear(self) -> None:
        data = self._sock.recv(READ_SIZE)
        if not data:
            raise ConnectionResetError("the PT connection has ended")
        for event in self._session.receive(data):
            self._take(event)

    def _take(self, event: Event) -> None:
        match event:
            case bytes():
                self._data += event
            case Opened():
                self.opened = event
            case Accepted() | Said():
                pass
            case Ended():
                self._has_ended = True
            case WasReset():
                self.refusal = event
                # The machine may be in the next stream already.
                if not self._has_reset and self._session.is_open:
                    self._say_reset(Cause.CUT)
            case other:
                raise AssertionError(other)
