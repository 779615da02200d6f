"""The outer port: bind it, accept, and park what comes before it can be carried on.

`bind` needs no event loop: the port is there before anything slow is imported.
"""

from __future__ import annotations

import errno
import os
import socket
import time

from pt_bridge.connection import is_dead, prepare, reset
from pt_bridge.errors import ListenError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from types import TracebackType

    from pt_bridge.protocol.address import Address

BACKLOG = 1024
# A host that restarts may take this long to let go of the port (seconds).
BIND_PATIENCE = 2.0
BIND_INTERVAL = 0.05
# How long a connection may be silent before it is taken for one that waits for the
# server to speak first (seconds).
FIRST_BYTE_PATIENCE = 0.25
MAX_PARKED = 1024
ACCEPTS_AT_ONCE = 64
# How long accepting stops when the system cannot do it, for lack of descriptors or
# memory, or for a fault of the network (seconds).
PAUSE = 0.1
OUT_OF_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE})
FIRST_UNPRIVILEGED_PORT = 1024
# What programs in Go write when they cannot listen.
WORDS = {
    errno.EADDRINUSE: "bind: address already in use",
    errno.EACCES: "bind: permission denied",
    errno.EADDRNOTAVAIL: "bind: cannot assign requested address",
}


def bind(address: Address, *, patience: float = BIND_PATIENCE) -> socket.socket:
    """Listen on an address, and on nothing wider.

    Args:
        address: where; a name is resolved, and its first address taken.
        patience: how long to try again while the port is in use, in seconds.

    Raises:
        ListenError: it cannot be done; it says why, and by whom the port is held.
    """
    deadline = time.monotonic() + patience
    while True:
        try:
            return _listen(address)
        except socket.gaierror as error:
            raise ListenError(
                f"cannot listen on port {address.port}: the host cannot be resolved: "
                f"{str(error.strerror).lower()}; give an IP address"
            ) from None
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                raise explain(error.errno or 0, address.port) from None
            time.sleep(BIND_INTERVAL)


def _listen(address: Address) -> socket.socket:
    family, kind, protocol, _, place = socket.getaddrinfo(
        address.host,
        address.port,
        type=socket.SOCK_STREAM,
        flags=socket.AI_NUMERICHOST if address.ip else 0,
    )[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setblocking(False)
        sock.bind(place)
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


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
            f"{why}; the address is not one of this machine's (on the client side, "
            f"leave out 'server')"
        )
    return ListenError(why)


def explain_text(text: str, port: int) -> ListenError | None:
    """Say why a PT could not listen, from what it wrote; None if that is not it."""
    for error, words in WORDS.items():
        if words in text:
            return explain(error, port)
    return None


def _held_by(port: int) -> str:
    """Say which program listens on a port, as far as the system tells us."""
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
        name = psutil.Process(pid).name() if pid else ""
    except (psutil.Error, OSError):
        pid = None
    if pid is None:
        return "held by a program of another user: stop it, or choose another port"
    if pid == os.getppid():
        return (
            f"held by {name} (pid {pid}), which started pt-bridge: this looks like "
            f"the server side, so add 'server' to the plugin options"
        )
    return f"held by {name} (pid {pid}): stop it, or choose another port"


class Listener:
    """Accepts on the outer port for as long as its block lasts.

    A connection is parked until its first byte, or for 250 ms: hosts test a plugin with
    connections that never carry anything, and those must not reach the network. One
    that hangs up before that is dropped. All wait until `open` is called, at most
    1,024; then each is delivered as it becomes due.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        deliver: Callable[[socket.socket], None],
        complain: Callable[[str], None],
        *,
        budget: int,
        first_byte_patience: float = FIRST_BYTE_PATIENCE,
    ) -> None:
        """Make a listener; entering its block starts it.

        Args:
            loop: the event loop.
            sock: a listening socket, which it owns from now on.
            deliver: gets each connection that is due, and owns it.
            complain: gets a sentence for the log when accepting pauses.
            budget: how many connections may be parked or delivered at once; `release`
                gives one back.
            first_byte_patience: how long to wait for a first byte, in seconds.
        """
        self._loop = loop
        self._sock = sock
        self._deliver = deliver
        self._complain = complain
        self._budget = budget
        self._patience = first_byte_patience
        self._parked: dict[_Parked, None] = {}
        self._delivered = 0
        self._open = False
        self._accepting = False
        self._resume: asyncio.TimerHandle | None = None
        self._complained = False
        self._closed = False

    def __enter__(self) -> Listener:
        self._accept_more()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the port, and reset what is still parked."""
        self._closed = True
        self._pause()
        self._sock.close()
        for parked in list(self._parked):
            parked.drop()

    def open(self) -> None:
        """Deliver what is due, and from now on everything that becomes due."""
        self._open = True
        for parked in [each for each in self._parked if each.is_due]:
            parked.take()

    @property
    def is_open(self) -> bool:
        """Whether connections are delivered."""
        return self._open

    def park(self) -> None:
        """Deliver nothing until `open` is called again."""
        self._open = False

    def release(self) -> None:
        """Give back the place of a connection that was delivered."""
        self._delivered -= 1
        self._room_was_made()

    def _room_was_made(self) -> None:
        if not self._accepting and self._resume is None and not self._closed:
            self._accept_more()

    def _accept_more(self) -> None:
        self._resume = None
        self._accepting = True
        self._loop.add_reader(self._sock.fileno(), self._accept)

    def _pause(self) -> None:
        if self._resume is not None:
            self._resume.cancel()
            self._resume = None
        if self._accepting:
            self._accepting = False
            self._loop.remove_reader(self._sock.fileno())

    def _accept(self) -> None:
        for _ in range(ACCEPTS_AT_ONCE):
            if self._delivered + len(self._parked) >= self._budget:
                self._pause()
                self._say(
                    f"{self._budget} connections are open, all that the limit of open "
                    f"files allows: new ones wait until one ends"
                )
                return
            try:
                sock, _ = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                self._complained = False  # all who waited are in
                return
            except OSError as error:
                self._pause()
                self._resume = self._loop.call_later(PAUSE, self._accept_more)
                why = os.strerror(error.errno or 0).lower()
                if error.errno in OUT_OF_DESCRIPTORS:
                    why = f"{why}; raise the limit of open files (LimitNOFILE=)"
                self._say(f"no connection can be accepted now: {why}")
                return
            self._park(sock)

    def _say(self, text: str) -> None:
        """Complain once, until all who have to wait are in."""
        if not self._complained:
            self._complained = True
            self._complain(text)

    def _park(self, sock: socket.socket) -> None:
        try:
            prepare(sock)
        except OSError:  # reset before we could look at it
            sock.close()
            return
        if len(self._parked) >= MAX_PARKED:
            next(iter(self._parked)).drop()
        parked = _Parked(self, sock)
        self._parked[parked] = None


class _Parked:
    """A connection that has not been delivered yet."""

    __slots__ = ("_heard", "_listener", "_sock", "_timer", "is_due")

    def __init__(self, listener: Listener, sock: socket.socket) -> None:
        self._listener = listener
        self._sock = sock
        self._heard = False
        self.is_due = False
        loop = listener._loop
        loop.add_reader(sock.fileno(), self._look)
        self._timer = loop.call_later(listener._patience, self._become_due)

    def _look(self) -> None:
        """Something came: the first bytes, or the end."""
        try:
            first = self._sock.recv(1, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            first = b""
        if not first:
            self._leave()
            self._sock.close()
            self._listener._room_was_made()
            return
        # It would be told again and again as long as nobody reads it.
        self._heard = True
        self._listener._loop.remove_reader(self._sock.fileno())
        self._become_due()

    def _become_due(self) -> None:
        self._timer.cancel()
        self.is_due = True
        if self._listener._open:
            self.take()

    def take(self) -> None:
        """Deliver the connection, unless it was reset in the meantime."""
        if is_dead(self._sock):
            self.drop()
            return
        self._leave()
        self._listener._delivered += 1
        self._listener._deliver(self._sock)

    def drop(self) -> None:
        """Reset the connection."""
        self._leave()
        reset(self._sock)
        self._listener._room_was_made()

    def _leave(self) -> None:
        self._timer.cancel()
        if not self._heard:
            self._listener._loop.remove_reader(self._sock.fileno())
        del self._listener._parked[self]
