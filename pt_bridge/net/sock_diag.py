"""What Linux tells of the other end of a connection on this machine.

TCP itself cannot tell a peer that has only half-closed from one that has closed for
good: both sent a FIN. The kernel has both ends, and is asked for the other one by a
netlink message (sock_diag(7), an exact lookup of one socket, open to ordinary users).
To ask takes some 8 microseconds, a sixth of what it takes to open and to close one
connection on loopback.
"""

from __future__ import annotations

import errno
import os
import socket
from enum import Enum
from ipaddress import ip_address
from struct import Struct
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

# include/net/tcp_states.h
ESTABLISHED, SYN_RECV, FIN_WAIT1, FIN_WAIT2 = 1, 3, 4, 5
CLOSE, CLOSE_WAIT, LISTEN = 7, 8, 10
# The states of a connection that its end has not ended.
OPEN = frozenset({ESTABLISHED, SYN_RECV, CLOSE_WAIT})
# The states of a connection whose end was sent, while the other side's was not: CLOSE,
# too, for a moment, while Linux keeps a smaller record of it in its place.
ENDED = frozenset({FIN_WAIT1, FIN_WAIT2, CLOSE})

NETLINK_SOCK_DIAG = 4  # include/uapi/linux/netlink.h, as are the next four
NLM_F_REQUEST = 1
NLMSG_ERROR = 2
HEADER = Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port
ERROR = Struct("=i")  # struct nlmsgerr, its beginning
SOCK_DIAG_BY_FAMILY = 20  # include/uapi/linux/sock_diag.h
# include/uapi/linux/inet_diag.h: what is asked (struct inet_diag_req_v2: family,
# protocol, extensions, states), of which socket (struct inet_diag_sockid: ports,
# addresses, interface, cookie), and what is told of it (struct inet_diag_msg: family,
# state, timer and retransmissions, the socket's id, expiry, both queues, user, inode).
QUESTION = Struct("=BBBxI")
PORTS = Struct("!HH")
ANY = Struct("=I8s").pack(0, b"\xff" * 8)
ADDRESS_SIZE = 16  # of IPv4, the first four count
ANSWER = Struct("=BBxx48sIIIII")
ANY_STATE = 0xFFFFFFFF
# More than an answer ever is: it has 124 bytes, as no extension was asked for.
ANSWER_SIZE = 4096
MAX_SEQUENCE = 0xFFFFFFFF

SO_ORIGINAL_DST = 80  # include/uapi/linux/netfilter_ipv4.h, and the same for IPv6
SOCKADDR_SIZE = 28  # of IPv6, and more than of IPv4
IN_PORT, IN_ADDRESS, IN6_ADDRESS = 2, 4, 8  # where they stand in it
# Nothing on the way changes addresses: not this connection's, or none at all.
NO_NAT = frozenset({errno.ENOENT, errno.ENOPROTOOPT})


class TcpSocket(NamedTuple):
    """What the kernel tells of a TCP socket.

    Attributes:
        state: its state, a number of include/net/tcp_states.h.
        inode: its file's number, or 0 where no process has it open, or none yet.
        user: the number of the user whose it is.
    """

    state: int
    inode: int
    user: int


class Missing(Enum):
    """Why there is nothing to tell of a socket."""

    GONE = "there is none, as far as this network namespace goes"
    UNKNOWN = "the kernel does not tell"


class SockDiag:
    """Asks the kernel about connections on this machine, within a block.

    Where it cannot ask (another system, a sandbox, no descriptor left), it knows
    nothing, and says so. No question ever waits: the kernel has answered by the time
    that a question is sent.
    """

    def __init__(self) -> None:
        """Create one that knows nothing before its block begins."""
        self._netlink: socket.socket | None = None
        self._sequence = 0

    def __enter__(self) -> SockDiag:
        try:
            netlink = socket.socket(
                socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG
            )
        except (AttributeError, OSError):  # another system; forbidden
            return self
        try:
            netlink.setblocking(False)
            netlink.connect((0, 0))  # the kernel, and nobody else
        except OSError:  # forbidden
            netlink.close()
        else:
            self._netlink = netlink
        return self

    def __exit__(self, *_: object) -> None:
        """Close what the questions went through."""
        if self._netlink is not None:
            self._netlink.close()
            self._netlink = None

    def peer(self, sock: socket.socket) -> TcpSocket | Missing:
        """Look up the other end of a connected TCP socket."""
        try:
            here, there = sock.getsockname(), sock.getpeername()
        except OSError:  # not connected any more
            return Missing.UNKNOWN
        return self._find(sock.family, there, here)

    def peer_has_closed(self, sock: socket.socket) -> bool | None:
        """Return whether the peer of a connection that it has ended is gone for good.

        Args:
            sock: a TCP socket that was connected, and from which an EOF was read.

        Returns:
            True where nobody can read any more what is sent; False where the peer has
            only half-closed; None where the kernel does not tell.
        """
        try:
            here, there = sock.getsockname(), sock.getpeername()
        except OSError as error:
            # The connection itself is dead: the peer has answered with a reset.
            return True if error.errno == errno.ENOTCONN else None
        peer = self._find(sock.family, there, here)
        if isinstance(peer, TcpSocket):
            if peer.inode:
                return False
            if peer.state not in ENDED:
                return None  # it is not our peer
        elif peer is Missing.UNKNOWN or not _must_be_here(sock, here, there):
            return None
        # Another network namespace has none of ours, and a kernel may look up nothing.
        own = self._find(sock.family, here, there)
        is_ours = (
            isinstance(own, TcpSocket) and own.inode == os.fstat(sock.fileno()).st_ino
        )
        return is_ours or None

    def _find(
        self, family: int, source: tuple[Any, ...], destination: tuple[Any, ...]
    ) -> TcpSocket | Missing:
        """Look up the socket that has these two addresses."""
        if self._netlink is None:
            return Missing.UNKNOWN
        self._sequence = self._sequence % MAX_SEQUENCE + 1
        question = b"".join(
            (
                QUESTION.pack(family, socket.IPPROTO_TCP, 0, ANY_STATE),
                PORTS.pack(source[1], destination[1]),
                _packed(family, source[0]),
                _packed(family, destination[0]),
                ANY,
            )
        )
        size = HEADER.size + len(question)
        header = HEADER.pack(
            size, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, self._sequence, 0
        )
        try:
            self._netlink.send(header + question)
            while True:  # until there is nothing more to read, which raises, too
                answer = self._netlink.recv(ANSWER_SIZE)
                _, kind, _, sequence, _ = HEADER.unpack_from(answer)
                if sequence == self._sequence:  # no late answer
                    return _read_answer(kind, answer)
        except OSError:
            return Missing.UNKNOWN


def cannot_tell(sock: socket.socket) -> bool | None:
    """Return None, as `SockDiag.peer_has_closed` does where it cannot tell."""
    return None


def _packed(family: int, host: str) -> bytes:
    return socket.inet_pton(family, host).ljust(ADDRESS_SIZE, b"\0")


def _read_answer(kind: int, answer: bytes) -> TcpSocket | Missing:
    if kind == NLMSG_ERROR:
        (error,) = ERROR.unpack_from(answer, HEADER.size)
        return Missing.GONE if error == -errno.ENOENT else Missing.UNKNOWN
    _, state, _, _, _, _, user, inode = ANSWER.unpack_from(answer, HEADER.size)
    if state == LISTEN:  # the next best, where there is no such connection
        return Missing.GONE
    return TcpSocket(state, inode, user)


def _must_be_here(
    sock: socket.socket, here: tuple[Any, ...], there: tuple[Any, ...]
) -> bool:
    """Return whether a peer would be found if it still were there.

    It would not on another machine, nor where the system translates addresses: a host
    whose connection is redirected to us has the address that it meant.
    """
    ours, theirs = _address(here[0]), _address(there[0])
    if not (ours.is_loopback and theirs.is_loopback):
        return False
    level, offset = (
        (socket.IPPROTO_IP, IN_ADDRESS)
        if ours.version == 4
        else (socket.IPPROTO_IPV6, IN6_ADDRESS)
    )
    try:
        meant = sock.getsockopt(level, SO_ORIGINAL_DST, SOCKADDR_SIZE)
    except OSError as error:
        return error.errno in NO_NAT
    port = int.from_bytes(meant[IN_PORT : IN_PORT + 2], "big")
    host = meant[offset : offset + len(ours.packed)]
    return (host, port) == (ours.packed, here[1])


def _address(host: str) -> IPv4Address | IPv6Address:
    address = ip_address(host)
    return getattr(address, "ipv4_mapped", None) or address
