"""Serve the page of numbers where the owner says: on a TCP port, or a Unix socket."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from typing import TYPE_CHECKING

from pt_bridge.errors import ListenError, UsageError
from pt_bridge.net.bind import bind
from pt_bridge.system.log import logger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator

    from pt_bridge.metrics.figures import Figures
    from pt_bridge.protocol.address import Address

BACKLOG = 16
MISSING = (
    "{name} needs the Python packages prometheus-client and h11: install them with "
    "pip install 'pt-bridge[metrics]', or on Debian apt install "
    "python3-prometheus-client python3-h11"
)


@contextlib.asynccontextmanager
async def serving(
    place: Address | str,
    ask: Callable[[], Iterable[Figures]],
    *,
    name: str = "--metrics",
) -> AsyncIterator[None]:
    """Serve the numbers of all bridges for as long as the block lasts.

    Args:
        place: an address, or the path of a Unix socket.
        ask: returns the figures of all bridges as they are now.
        name: what its owner calls the option.

    Raises:
        UsageError: a library that it takes is not installed.
        ListenError: it cannot be listened there.
    """
    try:
        from pt_bridge.metrics.page import Page
        from pt_bridge.metrics.scrape_server import PATH, ScrapeServer
    except ImportError:
        raise UsageError(MISSING.format(name=name)) from None
    with contextlib.ExitStack() as stack:
        if isinstance(place, str):
            sock = stack.enter_context(_unix_socket(place, name))
        else:
            sock = socket.socket(fileno=_bound(place, name))
        async with ScrapeServer(sock, Page(ask).write):
            logger.info("numbers for Prometheus are served at %s", PATH.decode())
            yield


def _bound(place: Address, name: str) -> int:
    try:
        return bind(place)
    except ListenError as error:
        raise ListenError(f"{name}: {error}") from None


@contextlib.contextmanager
def _unix_socket(path: str, name: str) -> Iterator[socket.socket]:
    """Listen on a Unix socket, which only its owner can reach; take it away at the end.

    A stale one is no reason to fail; one that somebody listens on is.
    """
    sock = socket.socket(socket.AF_UNIX)
    try:
        _remove_stale(path)
        sock.bind(path)  # with our umask: 0600
        made = os.stat(path)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        why = os.strerror(error.errno or 0).lower()
        raise ListenError(f"{name}: {path} cannot be listened on: {why}") from None
    try:
        yield sock
    finally:
        sock.close()
        with contextlib.suppress(OSError):
            if os.path.samestat(os.stat(path), made):
                os.unlink(path)


def _remove_stale(path: str) -> None:
    """Remove a socket that nobody listens on; raise OSError where somebody does."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise OSError(errno.EEXIST, os.strerror(errno.EEXIST))
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        if probe.connect_ex(path) != errno.ECONNREFUSED:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    os.unlink(path)
