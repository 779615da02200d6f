"""What pt-bridge does to every TCP connection: prepare it, reset it."""

from __future__ import annotations

import socket
import sys
from array import array

TCP_CLOSE = 7  # include/net/tcp_states.h; the first byte of TCP_INFO
SIOCOUTQNSD = 0x894B  # include/uapi/linux/sockios.h
NO_LINGER = array("i", (1, 0))  # struct linger, socket(7)


def prepare(sock: socket.socket) -> None:
    """Make a connection non-blocking, unbuffered and watched for a dead peer."""
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def reset(sock: socket.socket) -> None:
    """Close a connection so that its peer sees a reset, not an end.

    A cut transfer must not look complete.
    """
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
    except OSError:  # gone already
        pass
    sock.close()


def half_close(sock: socket.socket) -> None:
    """Tell the peer that nothing more comes."""
    try:
        sock.shutdown(socket.SHUT_WR)
    except OSError:  # gone already
        pass


def end_both_ways(sock: socket.socket) -> None:
    """Let both peers of a connection see its end, and leave the socket open."""
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:  # gone already
        pass


def is_dead(sock: socket.socket) -> bool:
    """Tell whether a TCP connection was reset, though nobody was told yet."""
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
    except (AttributeError, OSError):  # another system
        return False
    return info[0] == TCP_CLOSE


def unsent(sock: socket.socket) -> int:
    """Give how many of the bytes sent the peer's system has not taken yet."""
    import fcntl
    import termios

    if sock.fileno() < 0 or is_dead(
        sock
    ):  # the kernel goes on counting what nobody will take
        return 0
    answer = fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4))
    return int.from_bytes(answer, sys.byteorder)


def waiting(sock: socket.socket) -> int:
    """Give how many of the bytes sent have not even left yet.

    Unlike `unsent`, it does not wait for the acknowledgement, which the peer's system
    may put off for 40 ms.
    """
    import fcntl

    try:
        answer = fcntl.ioctl(sock, SIOCOUTQNSD, bytes(4))
    except OSError:  # another system
        return unsent(sock)
    return int.from_bytes(answer, sys.byteorder)


def unread(sock: socket.socket) -> int:
    """Give how many bytes have come that nobody has read yet."""
    import fcntl
    import termios

    answer = fcntl.ioctl(sock, termios.FIONREAD, bytes(4))
    return int.from_bytes(answer, sys.byteorder)


def answer(sock: socket.socket, word: bytes) -> bool:
    """Send the few bytes that end a handshake; tell whether they were taken."""
    try:
        return sock.send(word) == len(word)
    except OSError:  # it has hung up
        return False
