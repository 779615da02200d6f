"""Sockets that are there already: systemd's (sd_listen_fds(3)), or another pt-bridge's.

So a port stays open while pt-bridge is started anew, and one below 1024 needs no right.
"""

from __future__ import annotations

import _socket
import os

from pt_bridge.net import takeover

FIRST = 3  # SD_LISTEN_FDS_START
MOST = 1000
MAX_DIGITS = 4

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def take(
    family: int,
    place: tuple[object, ...],
    variables: Mapping[bytes, bytes] = os.environb,
    *,
    kind: int = _socket.SOCK_STREAM,
) -> int | None:
    """Return our own descriptor for a socket that listens where we would, or None.

    Args:
        family: the address family.
        place: the host and the port, as the `socket` module has them.
        variables: our environment, with what systemd says in it.
        kind: SOCK_DGRAM for one that datagrams come to.
    """
    given = range(FIRST, FIRST + _number(variables))
    for descriptor in (*takeover.sockets(), *given):
        try:
            sock = _socket.socket(fileno=os.dup(descriptor))
        except OSError:  # closed, or none at all
            continue
        try:
            is_listening = sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_ACCEPTCONN)
            is_such = is_listening == (kind == _socket.SOCK_STREAM)
            if is_such and sock.family == family and _is(sock, place, kind):
                os.set_inheritable(sock.fileno(), False)
                return sock.detach()
        finally:
            if sock.fileno() != -1:
                sock.close()
    return None


def _is(sock: _socket.socket, place: tuple[object, ...], kind: int) -> bool:
    return sock.type == kind and bool(sock.getsockname()[:2] == place[:2])


def _number(variables: Mapping[bytes, bytes]) -> int:
    """Return how many there are, if they are meant for this process."""
    if variables.get(b"LISTEN_PID") != b"%d" % os.getpid():
        return 0
    text = variables.get(b"LISTEN_FDS", b"")
    if not text.isdigit() or len(text) > MAX_DIGITS:
        return 0
    return min(int(text), MOST)
