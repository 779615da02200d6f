"""UDP sockets: bound or connected, non-blocking, with room for a few big datagrams."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from pt_bridge.errors import ListenError
from pt_bridge.net import inherited

if TYPE_CHECKING:
    from pt_bridge.protocol.address import Address

# What the kernel may keep for us (bytes); it grants no more than net.core.rmem_max.
RECEIVE_BUFFER = 1 << 20
# One more than any datagram that can be carried has (IPv6 has somewhat bigger ones).
READ_SIZE = 65_508
# How many are read in one turn of the loop, so that tunnels are not kept waiting.
READS_AT_ONCE = 32


def prepare(sock: socket.socket) -> None:
    """Set a UDP socket to never wait, and give it room."""
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)


def bind(address: Address) -> socket.socket:
    """Return a socket that hears what is sent to an address, and to nothing wider.

    Args:
        address: where; a name is resolved, and its first address taken, IPv4 first.

    Raises:
        ListenError: it cannot be done; it says why.
    """
    why = f"cannot receive UDP on port {address.port}"
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_DGRAM)
        found.sort(key=lambda each: each[0] != socket.AF_INET)
        family, kind, protocol, _, place = found[0]
        given = inherited.take(family, place, kind=socket.SOCK_DGRAM)
        if given is not None:
            sock = socket.socket(fileno=given)
            prepare(sock)
            return sock
        sock = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ListenError(f"{why}: {str(error.strerror).lower()}") from None
    try:
        prepare(sock)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(place)
    except OSError as error:
        sock.close()
        raise ListenError(
            f"{why}: {str(error.strerror).lower()}; stop what holds it ('ss -lunp' "
            f"shows it), choose another port, or leave 'udp' out"
        ) from None
    return sock


def connect(host: str, port: int) -> socket.socket:
    """Return a socket that sends to, and hears, only one address.

    Args:
        host: an IP address.
        port: its port.

    Raises:
        OSError: there is no descriptor left, or no way to that address.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        prepare(sock)
        sock.connect((host, port))
    except BaseException:
        sock.close()
        raise
    return sock
