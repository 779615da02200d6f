"""The outer port: bind it, and say why that cannot be done.

A host may be waiting for it, so this runs before anything slow is imported; the
`socket` module is (its constants are enumerations), and what it is made of is not.
"""

from __future__ import annotations

import _socket
import errno
import os
import time

from pt_bridge.errors import ListenError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pt_bridge.protocol.address import Address

BACKLOG = 1024
# A host that restarts may take this long to let go of the port (seconds).
BIND_PATIENCE = 2.0
BIND_INTERVAL = 0.05
FIRST_UNPRIVILEGED_PORT = 1024
# What programs in Go write when they cannot listen.
WORDS = {
    errno.EADDRINUSE: "bind: address already in use",
    errno.EACCES: "bind: permission denied",
    errno.EADDRNOTAVAIL: "bind: cannot assign requested address",
}


def bind(
    address: Address,
    *,
    patience: float = BIND_PATIENCE,
    before_waiting: Callable[[], None] | None = None,
) -> int:
    """Listen on an address, and on nothing wider.

    Args:
        address: where; a name is resolved, and its first address taken, IPv4 first.
        patience: how long to try again while the port is in use, in seconds.
        before_waiting: called once, before the second try.

    Returns:
        The descriptor of a socket that listens.

    Raises:
        ListenError: it cannot be done; it says why, and by whom the port is held.
    """
    deadline = time.monotonic() + patience
    while True:
        try:
            return _listen(address)
        except _socket.gaierror as error:
            raise ListenError(
                f"cannot listen on port {address.port}: the host cannot be resolved: "
                f"{str(error.strerror).lower()}; give an IP address"
            ) from None
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                raise explain(error.errno or 0, address.port) from None
            if before_waiting is not None:
                before_waiting()
                before_waiting = None
            time.sleep(BIND_INTERVAL)


def _listen(address: Address) -> int:
    found = _socket.getaddrinfo(
        address.host.encode(),  # a str would go through a codec that is slow to import
        address.port,
        type=_socket.SOCK_STREAM,
    )
    # False comes first.
    found.sort(key=lambda each: each[0] != _socket.AF_INET)
    family, kind, protocol, _, place = found[0]
    sock = _socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        if family == _socket.AF_INET6:
            sock.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_V6ONLY, 1)
        sock.bind(place)
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock.detach()


def explain(error: int, port: int) -> ListenError:
    """Say why a port cannot be listened on, and what to do.

    Args:
        error: the errno.
        port: the port.
    """
    why = f"cannot listen on port {port}: {os.strerror(error).lower()}"
    if error == errno.EADDRINUSE:
        return ListenError(f"{why}, {_held_by(port)}")
    if error == errno.EACCES and port < FIRST_UNPRIVILEGED_PORT:
        return ListenError(
            f"{why}; ports below 1024 need a right: run "
            f"'sysctl net.ipv4.ip_unprivileged_port_start={port}', or under systemd "
            f"add AmbientCapabilities=CAP_NET_BIND_SERVICE to the unit (with Debian's "
            f"ss-server only the first helps: its file capabilities hide the second)"
        )
    if error == errno.EADDRNOTAVAIL:
        return ListenError(
            f"{why}; the address is not one of this machine's: a client listens on "
            f"SS_LOCAL_HOST or --local, a server (option 'server') on SS_REMOTE_HOST "
            f"or --remote"
        )
    return ListenError(why)


def explain_text(text: str, port: int) -> ListenError | None:
    """Say why a PT could not listen, from what it wrote; None if that is not it."""
    for error, words in WORDS.items():
        if words in text:
            return explain(error, port)
    return None


def holder(port: int) -> tuple[int, str] | None:
    """Give the id and the name of the program that listens on a port.

    None where the system does not tell, since it is another user's.
    """
    import psutil  # slow, and only needed here

    try:
        holders = {
            connection.pid
            for connection in psutil.net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN
            and connection.laddr
            and connection.laddr.port == port
        }
        pid = max(filter(None, holders), default=None)
        return None if pid is None else (pid, psutil.Process(pid).name())
    except (psutil.Error, OSError):
        return None


def _held_by(port: int) -> str:
    found = holder(port)
    if found is None:
        return "held by a program of another user: stop it, or choose another port"
    pid, name = found
    if pid == os.getppid():
        return (
            f"held by {name} (pid {pid}), which started pt-bridge: this looks like "
            f"the server side, so add 'server' to the plugin options"
        )
    return f"held by {name} (pid {pid}): stop it, or choose another port"
