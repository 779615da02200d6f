"""Small real proxies: the proxy's side of each handshake, on a blocking socket.

Each function is given a connection just accepted, and returns what was asked of it once
it has answered. From then on the socket is the target's end of the tunnel, and the test
plays it.
"""

from __future__ import annotations

import socket
from typing import NamedTuple

from tests.processes import receive

SUCCEEDED, WRONG_METHOD = 0, 0xFF
NO_AUTHENTICATION, USER_NAME_AND_PASSWORD = 0, 2
FAMILIES = {1: socket.AF_INET, 4: socket.AF_INET6}
LENGTHS = {1: 4, 4: 16}
NAME = 3


class Asked(NamedTuple):
    """What a client asked for.

    Attributes:
        host: the target; a name as it was written, an IP address in its usual form.
        is_name: whether it came as a name.
        port: the target's.
        user: the user name, or None without one.
        password: likewise.
    """

    host: str
    is_name: bool
    port: int
    user: bytes | None = None
    password: bytes | None = None


class Refused(Exception):
    """Raised when a proxy did not like its client; the socket is still open."""


def socks5(
    sock: socket.socket,
    *,
    login: tuple[bytes, bytes] | None = None,
    reply: int = SUCCEEDED,
    behind: bytes = b"",
) -> Asked:
    """Be a SOCKS5 proxy (RFC 1928, RFC 1929).

    Args:
        sock: the client's connection.
        login: the user name and password that it must give, or None for no such step.
        reply: what to answer to the request.
        behind: sent with the reply, in one write: the target's first bytes.

    Raises:
        Refused: the client does not give the login; it was told so.
    """
    version, number = receive(sock, 2)
    assert version == 5
    methods = receive(sock, number)
    user = password = None
    method = NO_AUTHENTICATION if login is None else USER_NAME_AND_PASSWORD
    if method not in methods:
        sock.sendall(bytes([5, WRONG_METHOD]))
        raise Refused
    sock.sendall(bytes([5, method]))
    if login is not None:
        version, length = receive(sock, 2)
        assert version == 1
        user = receive(sock, length)
        password = receive(sock, receive(sock, 1)[0])
        is_right = (user, password) == login
        sock.sendall(bytes([1, not is_right]))
        if not is_right:
            raise Refused
    version, command, reserved, kind = receive(sock, 4)
    assert (version, command, reserved) == (5, 1, 0)
    if kind == NAME:
        host = receive(sock, receive(sock, 1)[0]).decode("ascii")
    else:
        host = socket.inet_ntop(FAMILIES[kind], receive(sock, LENGTHS[kind]))
    port = int.from_bytes(receive(sock, 2), "big")
    sock.sendall(bytes([5, reply, 0, 1]) + bytes(6) + behind)
    return Asked(host, kind == NAME, port, user, password)
