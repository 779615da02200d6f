"""Small real proxies: the proxy's side of each handshake, on a blocking socket.

Each function is given a connection just accepted, and returns what was asked of it once
it has answered. From then on the socket is the target's end of the tunnel, and the test
plays it.
"""

from __future__ import annotations

import base64
import socket
from typing import TYPE_CHECKING, NamedTuple

from tests.support.processes import receive

if TYPE_CHECKING:
    from collections.abc import Callable

    Login = tuple[bytes, bytes]

NO_AUTHENTICATION, USER_NAME_AND_PASSWORD, NO_METHOD = 0, 2, 0xFF
FAMILIES = {1: socket.AF_INET, 4: socket.AF_INET6}
LENGTHS = {1: 4, 4: 16}
NAME = 3
GRANTED = 0x5A
HTTP_END = b"\r\n\r\n"


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


def at_once(sock: socket.socket, data: bytes) -> None:
    """Write in one piece."""
    sock.sendall(data)


def byte_by_byte(sock: socket.socket, data: bytes) -> None:
    """Write so that the client sees as many pieces as can be."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in data:
        sock.sendall(bytes([byte]))


def socks5(
    sock: socket.socket,
    *,
    login: Login | None = None,
    reply: int = 0,
    behind: bytes = b"",
    write: Callable[[socket.socket, bytes], None] = at_once,
) -> Asked:
    """Act as a SOCKS5 proxy (RFC 1928, RFC 1929).

    Args:
        sock: the client's connection.
        login: the user name and password that it must give, or None for no such step.
        reply: what to answer to the request.
        behind: sent with the reply, in one write: the target's first bytes.
        write: how to send.

    Raises:
        Refused: the client does not give the login; it was told so.
    """
    version, number = receive(sock, 2)
    assert version == 5
    methods = receive(sock, number)
    user = password = None
    method = NO_AUTHENTICATION if login is None else USER_NAME_AND_PASSWORD
    if method not in methods:
        write(sock, bytes([5, NO_METHOD]))
        raise Refused
    write(sock, bytes([5, method]))
    if login is not None:
        version, length = receive(sock, 2)
        assert version == 1
        user = receive(sock, length)
        password = receive(sock, receive(sock, 1)[0])
        is_right = (user, password) == login
        write(sock, bytes([1, not is_right]))
        if not is_right:
            raise Refused
    version, command, reserved, kind = receive(sock, 4)
    assert (version, command, reserved) == (5, 1, 0)
    if kind == NAME:
        host = receive(sock, receive(sock, 1)[0]).decode("ascii")
    else:
        host = socket.inet_ntop(FAMILIES[kind], receive(sock, LENGTHS[kind]))
    port = int.from_bytes(receive(sock, 2), "big")
    write(sock, bytes([5, reply, 0, 1]) + bytes(6) + behind)
    return Asked(host, kind == NAME, port, user, password)


def socks4(
    sock: socket.socket,
    *,
    reply: int = GRANTED,
    behind: bytes = b"",
    write: Callable[[socket.socket, bytes], None] = at_once,
) -> Asked:
    """Act as a SOCKS4 proxy that knows 4a, too; the arguments are as with `socks5`."""
    assert receive(sock, 2) == b"\x04\x01"
    port = int.from_bytes(receive(sock, 2), "big")
    address = receive(sock, 4)
    user = _receive_to(sock, b"\0")[:-1] or None
    is_name = address[:3] == bytes(3) and address != bytes(4)
    if is_name:
        host = _receive_to(sock, b"\0")[:-1].decode("ascii")
    else:
        host = socket.inet_ntop(socket.AF_INET, address)
    write(sock, bytes([0, reply]) + bytes(6) + behind)
    return Asked(host, is_name, port, user)


def http(
    sock: socket.socket,
    *,
    login: Login | None = None,
    status: bytes = b"200 Connection established",
    fields: bytes = b"\r\nVia: 1.1 small\r\nContent-Length: 0",
    end: bytes = HTTP_END,
    behind: bytes = b"",
    write: Callable[[socket.socket, bytes], None] = at_once,
) -> Asked:
    """Serve as an HTTP proxy (RFC 9110 9.3.6); arguments are as with `socks5`.

    Args:
        sock: the client's connection.
        login: as with `socks5`; who does not give it gets 407.
        status: what else to answer.
        fields: the rest of the answer, as far as its end.
        end: what ends the answer.
        behind: as with `socks5`.
        write: likewise.
    """
    request, *lines = _receive_to(sock, HTTP_END)[: -len(HTTP_END)].split(b"\r\n")
    method, place, version = request.split(b" ")
    assert (method, version) == (b"CONNECT", b"HTTP/1.1")
    headers = dict(line.split(b": ", 1) for line in lines)
    assert headers[b"Host"] == place
    user = password = None
    if b"Proxy-Authorization" in headers:
        scheme, token = headers[b"Proxy-Authorization"].split(b" ")
        assert scheme == b"Basic"
        user, _, password = base64.b64decode(token, validate=True).partition(b":")
    if login is not None and (user, password) != login:
        write(sock, b"HTTP/1.1 407 Proxy Authentication Required" + HTTP_END)
        raise Refused
    write(sock, b"HTTP/1.1 " + status + fields + end + behind)
    host, _, port = place.decode("ascii").rpartition(":")
    is_name = not host.startswith("[") and not host.replace(".", "").isdigit()
    return Asked(host.strip("[]"), is_name, int(port), user, password)


def _receive_to(sock: socket.socket, end: bytes) -> bytes:
    """Read as far as these bytes, and no further."""
    data = b""
    while not data.endswith(end):
        data += receive(sock, 1) or end
    return data
