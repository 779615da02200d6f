"""What pt-bridge does to every TCP connection: prepare it, reset it."""

from __future__ import annotations

import fcntl
import select
import socket
import sys
import termios
from array import array

# include/net/tcp_states.h; the first byte of TCP_INFO
TCP_ESTABLISHED, TCP_CLOSE, TCP_CLOSE_WAIT = 1, 7, 8
SIOCOUTQNSD = 0x894B  # include/uapi/linux/sockios.h
NOTHING = bytes(4)  # an int, which an ioctl sets, that is 0
NO_LINGER = array("i", (1, 0))  # struct linger, socket(7)
# After how long a silence, how often and how many times the kernel asks a peer whether
# it is still there (seconds): as Go does on every connection, PTs included. So a peer
# that has vanished is noticed after two and a half minutes, not after two hours.
KEEPALIVE_IDLE, KEEPALIVE_INTERVAL, KEEPALIVE_COUNT = 15, 15, 9


def prepare(sock: socket.socket) -> None:
    """Create a connection non-blocking, unbuffered and watched for a dead peer."""
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    tcp = socket.IPPROTO_TCP
    sock.setsockopt(tcp, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE)
    sock.setsockopt(tcp, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL)
    sock.setsockopt(tcp, socket.TCP_KEEPCNT, KEEPALIVE_COUNT)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def is_prepared(sock: socket.socket) -> bool:
    """Whether a connection is unbuffered and watched for a dead peer."""
    tcp = socket.IPPROTO_TCP
    return (
        sock.getsockopt(tcp, socket.TCP_NODELAY) != 0
        and sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) != 0
        and sock.getsockopt(tcp, socket.TCP_KEEPIDLE) == KEEPALIVE_IDLE
    )


def reset(sock: socket.socket) -> None:
    """Close a connection so that its peer sees a reset, not an end.

    A cut transfer must not look complete.
    """
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
    except OSError:  # gone already
        pass
    sock.close()


def read_now(sock: socket.socket, most: int) -> bytes | None:
    """Return what a socket has in hand, b"" for its end, None for nothing yet.

    Raises:
        OSError: it was reset; the kernel says so once.
    """
    try:
        return sock.recv(most)
    except (BlockingIOError, InterruptedError):
        return None


def half_close(sock: socket.socket) -> None:
    """Half-close a connection: send EOF, and go on receiving."""
    try:
        sock.shutdown(socket.SHUT_WR)
    except OSError:  # gone already
        pass


def is_established(sock: socket.socket) -> bool:
    """Whether a TCP connection is there, and neither side has ended it."""
    return _state(sock) == TCP_ESTABLISHED


def is_dead(sock: socket.socket) -> bool:
    """Return whether a TCP connection was reset, though nobody was told yet."""
    return _state(sock) == TCP_CLOSE


def has_ended(sock: socket.socket) -> bool:
    """Whether the peer has ended or reset a TCP connection, be that read or not."""
    return _state(sock) in (TCP_CLOSE, TCP_CLOSE_WAIT)


def _state(sock: socket.socket) -> int:
    """Return the state of a TCP connection, 0 where the system does not tell."""
    try:
        return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    except (AttributeError, OSError):  # another system
        return 0


def unsent(sock: socket.socket) -> int:
    """Return how many of the bytes sent the peer's system has not taken yet."""
    if sock.fileno() < 0:
        return 0
    answer = fcntl.ioctl(sock, termios.TIOCOUTQ, NOTHING)
    # The kernel goes on counting what nobody will take.
    return 0 if answer == NOTHING or is_dead(sock) else _number(answer)


def waiting(sock: socket.socket) -> int:
    """Return how many of the bytes sent have not even left yet.

    Unlike `unsent`, it does not wait for the acknowledgement, which the peer's system
    may put off for 40 ms.
    """
    try:
        return _number(fcntl.ioctl(sock, SIOCOUTQNSD, NOTHING))
    except OSError:  # another system
        return unsent(sock)


def _number(answer: bytes) -> int:
    return int.from_bytes(answer, sys.byteorder)


def answer(sock: socket.socket, word: bytes) -> bool:
    """Send the few bytes that end a handshake; return whether they were taken."""
    try:
        return sock.send(word) == len(word)
    except OSError:  # it has hung up
        return False


def is_readable(sock: socket.socket) -> bool:
    """Whether something can be read, or accepted, now."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))
