"""The client's side of an HTTP proxy's CONNECT (RFC 9110 9.3.6).

A handshake is a generator as in `pt_bridge.protocol.socks_client`: nothing is read
beyond the empty line that ends the answer, since what stands behind it is the tunnel's.

Written here and not left to a library: python-socks takes whatever its first read gives
for the answer, so that bytes of the tunnel are lost, or the answer's own rest turns up
in it.
"""

from __future__ import annotations

from binascii import b2a_base64
from typing import TYPE_CHECKING

from pt_bridge.errors import ConnectRefused, LoginRefused, ProtocolError
from pt_bridge.protocol.handshake import Ask

if TYPE_CHECKING:
    from collections.abc import Generator

    from pt_bridge.protocol.address import Address
    from pt_bridge.protocol.socks_client import Handshake

# As much of the status line as means something: ``HTTP/1.1 200``.
STATUS_LENGTH = 12
VERSION, CODE_AT = b"HTTP/1.", 9
# An answer as a whole; real ones have some hundred bytes.
MAX_ANSWER = 16 * 1024
# A line may end in LF alone (RFC 9112 2.2).
ENDS = (b"\n\n", b"\n\r\n")
NEARLY_ENDS = (b"\n", b"\n\r")
SUCCESSFUL = 2  # and two digits more (RFC 9110 15.3)
# 407 (RFC 9110 15.5.8), and what tinyproxy answers to a wrong login.
LOGIN_REFUSED = (407, 401)


def connect(target: Address, login: tuple[bytes, bytes] | None) -> Handshake:
    """Open a tunnel to the target through an HTTP proxy.

    Args:
        target: the server; a name is left to the proxy to resolve.
        login: the user name and the password for the proxy, or None.

    Raises:
        LoginRefused: the proxy wants a login, or another one.
        ConnectRefused: the proxy did not connect to the server.
        ProtocolError: the answer is not HTTP, or too long.
    """
    status = yield Ask(_request(target, login), STATUS_LENGTH)
    code = status[CODE_AT:]
    is_http = status.startswith(VERSION) and status[CODE_AT - 1 : CODE_AT] == b" "
    if not is_http or not code.isdigit():
        raise ProtocolError("the upstream proxy's answer is not HTTP")
    if int(code) in LOGIN_REFUSED:
        raise login_refused(given=login is not None)
    if int(code) // 100 != SUCCESSFUL:
        raise ConnectRefused(
            f"the upstream proxy did not connect to the server: HTTP status {int(code)}"
        )
    yield from _skip_to_end(status)


def login_refused(*, given: bool) -> LoginRefused:
    """Create the error for a login that a proxy, of any kind, does not take.

    Args:
        given: whether upstream-proxy= has one.
    """
    if given:
        return LoginRefused(
            "the upstream proxy does not take the user name and password of "
            "upstream-proxy="
        )
    return LoginRefused(
        "the upstream proxy wants a user name and a password: put user:password@ "
        "before the host in upstream-proxy="
    )


def _skip_to_end(answer: bytes) -> Generator[Ask, bytes, None]:
    """Read the rest of an answer, as many bytes at a time as it still must have."""
    while not answer.endswith(ENDS):
        if len(answer) > MAX_ANSWER:
            raise ProtocolError("the upstream proxy's answer is too long")
        answer += yield Ask(b"", 1 if answer.endswith(NEARLY_ENDS) else 2)


def _request(target: Address, login: tuple[bytes, bytes] | None) -> bytes:
    place = str(target).encode("ascii")
    lines = [b"CONNECT " + place + b" HTTP/1.1", b"Host: " + place]
    if login is not None:  # RFC 7617 2
        token = b2a_base64(b":".join(login), newline=False)
        lines.append(b"Proxy-Authorization: Basic " + token)
    return b"\r\n".join([*lines, b"", b""])
