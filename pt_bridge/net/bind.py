"""The outer port: bind it, and say why that cannot be done.

shadowsocks may be waiting for it, so this runs before anything slow is imported; the
`socket` module is (its constants are enumerations), and what it is made of is not.
"""

from __future__ import annotations

import _socket
import errno
import os
import time

from pt_bridge.errors import ListenError
from pt_bridge.net.loopback import leave_unpaced
from pt_bridge.options.ss_variables import TAKES_OVER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pt_bridge.protocol.address import Address

BACKLOG = 1024
# A shadowsocks that restarts may take this long to let go of the port (seconds).
BIND_PATIENCE = 2.0
BIND_INTERVAL = 0.05
FIRST_UNPRIVILEGED_PORT = 1024
# Linux's own (ip_local_port_range), where it does not tell.
EPHEMERAL_PORTS = (32768, 60999)
# The programs that start us on each side, by the names that the kernel has for them.
SHADOWSOCKS_SERVERS = frozenset({"ss-server", "ssserver"})
SHADOWSOCKS_CLIENTS = frozenset({"ss-local", "ss-redir", "ss-tunnel", "sslocal"})
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
    is_server: bool = False,
) -> int:
    """Listen on an address, and on nothing wider.

    Args:
        address: where; a name is resolved, and its first address taken, IPv4 first.
        patience: how long to try again while the port is in use, in seconds.
        before_waiting: called once, before the second try.
        is_server: whether the plugin options have `server`.

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
                number = error.errno or 0
                failure = bind_error(number, address.port, is_server=is_server)
                failure.number = number
                raise failure from None
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
    if b"LISTEN_FDS" in os.environb or TAKES_OVER in os.environb:
        from pt_bridge.net import inherited  # for what few have

        given = inherited.take(family, place)
        if given is not None:
            return given
    sock = _socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        if family == _socket.AF_INET6:
            sock.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_V6ONLY, 1)
        sock.bind(place)
        leave_unpaced(sock, str(place[0]))
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock.detach()


def bind_error(error: int, port: int, *, is_server: bool = False) -> ListenError:
    """Return a sentence that says why a port cannot be listened on, and what to do.

    Args:
        error: the errno.
        port: the port.
        is_server: whether the plugin options have `server`.
    """
    why = f"cannot listen on port {port}: {os.strerror(error).lower()}"
    parent = _name_of_parent()
    if is_server and parent in SHADOWSOCKS_CLIENTS:
        return ListenError(
            f"{why}; {parent} has started pt-bridge, so this is the client side: leave "
            f"'server' out of the plugin options"
        )
    if error == errno.EADDRINUSE:
        return ListenError(f"{why}, {_held_by(port, is_server=is_server)}")
    if error == errno.EACCES and port < FIRST_UNPRIVILEGED_PORT:
        return ListenError(
            f"{why}; ports below 1024 need a right: run "
            f"'sysctl net.ipv4.ip_unprivileged_port_start={port}', or under systemd "
            f"add AmbientCapabilities=CAP_NET_BIND_SERVICE to the unit (with Debian's "
            f"ss-server only the first helps: its file capabilities hide the second)"
        )
    if error == errno.EADDRNOTAVAIL:
        return ListenError(
            f"{why}; the address is not one of this machine's: a client listens "
            f"where shadowsocks tells it, or on --local, a server (option 'server') on "
            f"shadowsocks's 'server', or on --remote"
        )
    return ListenError(why)


def bind_error_from(text: str, port: int) -> ListenError | None:
    """Return the error for a PT server that could not listen, by its words, or None."""
    for error, words in WORDS.items():
        if words in text:
            return bind_error(error, port, is_server=True)
    return None


def _name_of_parent() -> str:
    """Return the name of the program that started us, or "" where that is hidden."""
    try:
        with open(f"/proc/{os.getppid()}/comm", "rb") as file:
            return os.fsdecode(file.read()).rstrip("\n")
    except OSError:
        return ""


def holder(port: int) -> tuple[int, str] | None:
    """Return the id and the name of the program that listens on a port.

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


def _outgoing_holder(port: int) -> str | None:
    """Return whose outgoing connection has a port, as it follows "held by"; or None."""
    import psutil  # slow, and only needed here

    try:
        found = [
            connection
            for connection in psutil.net_connections("tcp")
            if connection.laddr and connection.laddr.port == port
        ]
    except (psutil.Error, OSError):
        return None
    if not found or any(each.status == psutil.CONN_LISTEN for each in found):
        return None
    pid = max(filter(None, (each.pid for each in found)), default=None)
    try:
        owner = "" if pid is None else f" of {psutil.Process(pid).name()} (pid {pid})"
    except (psutil.Error, OSError):
        owner = ""
    return f"an outgoing connection{owner}"


def _ephemeral_ports() -> tuple[int, int]:
    """Return the first and the last of the ports that outgoing connections get."""
    try:
        with open("/proc/sys/net/ipv4/ip_local_port_range", "rb") as file:
            first, last = file.read().split()
        return int(first), int(last)
    except (OSError, ValueError):
        return EPHEMERAL_PORTS


def _held_by(port: int, *, is_server: bool) -> str:
    found = holder(port)
    first, last = _ephemeral_ports()
    if found is None and first <= port <= last and (who := _outgoing_holder(port)):
        return (
            f"held by {who}, and nobody listens there: ports {first} to {last} are the "
            f"kernel's to give out; choose a port below {first}, or keep this one back "
            f"with 'sysctl net.ipv4.ip_local_reserved_ports={port}'"
        )
    if found is None and not is_server:
        parent = _name_of_parent()
        # Debian's ss-server has file capabilities, and may not be looked at; it listens
        # where a client would.
        if parent in SHADOWSOCKS_SERVERS:
            found = os.getppid(), parent
    if found is None:
        return (
            "held by a program that this user may not look at: stop it, or choose "
            "another port"
        )
    pid, name = found
    if pid == os.getppid() and not is_server:
        return (
            f"held by {name} (pid {pid}), which started pt-bridge: this looks like "
            f"the server side, so add 'server' to the plugin options"
        )
    return f"held by {name} (pid {pid}): stop it, or choose another port"
